use std::time::Duration;

use tokio::time::Instant;

/// After the first pause, and after somebody has changed it, other programs that manage the machine's DNS
/// have had their turn.
const FIRST_PAUSE: Duration = Duration::from_secs(3);

/// The longest time between two looks, which come at twice the time of the one before.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// When it is looked whether the machine's DNS still leads to us.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looks {
    pause: Duration,
    /// Whatever happens, so that nobody's quarrel keeps us busy.
    pub(super) not_before: Instant,
    /// Where nobody tells of changes.
    pub(super) at: Instant,
    /// Look then even where somebody does.
    pub(super) must: bool,
}

impl Looks {
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self { pause: FIRST_PAUSE, not_before: now, at: now + FIRST_PAUSE, must: false }
    }

    /// All was as it should be.
    pub(crate) fn found_in_place(&mut self) {
        self.wait_longer();
        self.must = false;
    }

    /// It could not be set again. Nobody tells when it could, so it is tried again.
    pub(crate) fn found_broken(&mut self) {
        self.wait_longer();
        self.not_before = self.at;
        self.must = true;
    }

    /// It was set again.
    pub(crate) fn found_changed(&mut self) {
        *self = Self::begin();
        self.not_before = self.at;
    }

    fn wait_longer(&mut self) {
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.at = Instant::now() + self.pause;
    }
}
