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
    /// Whatever does not happen.
    pub(super) at: Instant,
}

impl Looks {
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self { pause: FIRST_PAUSE, not_before: now, at: now + FIRST_PAUSE }
    }

    /// All was as it should be, or cannot be made so.
    pub(crate) fn found_in_place(&mut self) {
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.at = Instant::now() + self.pause;
    }

    /// It was set again.
    pub(crate) fn found_changed(&mut self) {
        *self = Self::begin();
        self.not_before = self.at;
    }
}
