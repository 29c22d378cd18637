use std::time::{Duration, Instant};

/// Instants as plain numbers, counted from the first one seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    epoch: Option<Instant>,
}

impl Clock {
    /// Microseconds since the first call.
    pub(crate) fn micros(&mut self, now: Instant) -> u64 {
        let epoch = *self.epoch.get_or_insert(now);
        u64::try_from(now.saturating_duration_since(epoch).as_micros()).unwrap_or(u64::MAX)
    }

    /// The instant of a number that [`micros`](Self::micros) gave, or one derived from it.
    pub(crate) fn instant(&self, micros: u64) -> Option<Instant> {
        self.epoch?.checked_add(Duration::from_micros(micros))
    }
}

/// RFC 7323 §5.4: the timestamp clock ticks once a millisecond, and wraps around.
pub(crate) fn timestamp(micros: u64, offset: u32) -> u32 {
    let [a, b, c, d, ..] = (micros / 1_000).to_le_bytes();
    u32::from_le_bytes([a, b, c, d]).wrapping_add(offset)
}
