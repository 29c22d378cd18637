use std::num::NonZeroU64;
use std::ops::Add;
use std::time::{Duration, Instant};

/// An instant as a plain number, half the size of an [`Instant`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(
    /// Microseconds since the clock's epoch, and one.
    NonZeroU64,
);

/// Turns instants into times, and back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// The first instant seen.
    epoch: Option<Instant>,
}

impl Clock {
    pub(crate) fn time(&mut self, now: Instant) -> Time {
        let epoch = *self.epoch.get_or_insert(now);
        let since = now.saturating_duration_since(epoch);
        Time::EPOCH + since
    }

    pub(crate) fn instant(&self, time: Time) -> Option<Instant> {
        self.epoch?.checked_add(Duration::from_micros(time.micros()))
    }
}

impl Time {
    pub(crate) const EPOCH: Self = Self(NonZeroU64::MIN);

    /// Microseconds since the epoch.
    pub(crate) fn micros(self) -> u64 {
        self.0.get() - 1
    }

    /// Seconds since the epoch.
    pub(crate) fn seconds(self) -> u32 {
        u32::try_from(self.micros() / 1_000_000).unwrap_or(u32::MAX)
    }

    /// How long ago `earlier` was; nothing where it is yet to come.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros().saturating_sub(earlier.micros()))
    }

    /// RFC 7323 §5.4: the timestamp clock ticks once a millisecond, and wraps around.
    pub(crate) fn timestamp(self, offset: u32) -> u32 {
        let [a, b, c, d, ..] = (self.micros() / 1_000).to_le_bytes();
        u32::from_le_bytes([a, b, c, d]).wrapping_add(offset)
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(after.as_micros()).unwrap_or(u64::MAX)))
    }
}
