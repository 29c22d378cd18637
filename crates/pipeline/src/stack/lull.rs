/// How often due timers may be put off for the device's sake: enough for the longest queue of a TUN.
const PATIENCE: u32 = 64;

/// Notices when the device has said all that it had to say.
///
/// After a pause of the process both a timer and the packets that would have stopped it are waiting.
/// The packets come first, or acknowledged data would be sent again.
#[derive(Debug, Default)]
pub(super) struct Lull {
    batch: u32,
    put_off: u32,
    busy: bool,
}

impl Lull {
    /// A packet came from the device.
    pub(super) fn packet(&mut self) {
        self.batch = self.batch.saturating_add(1);
    }

    /// The device has no more packets, or a batch is full: only an empty batch means the former.
    pub(super) fn end_of_batch(&mut self) {
        self.busy = self.batch > 0;
        self.batch = 0;
    }

    /// Whether a due timer may fire now; it may not be asked in vain for ever.
    pub(super) fn may_fire(&mut self) -> bool {
        let fires = !self.busy || self.put_off >= PATIENCE;
        self.put_off = if fires { 0 } else { self.put_off + 1 };
        fires
    }
}
