use std::time::Duration;

use tokio::time::Instant;

/// What is held shall have left after so long: what comes behind it may be in a hurry.
const HORIZON: Duration = Duration::from_millis(5);

/// What is held in any case: one frame.
const LEAST: usize = 16 * 1024;

/// How much is to be held for the stream below, by how fast it takes it.
pub(super) struct Pace {
    most: usize,
    limit: usize,
    /// Since when the stream has not taken all, or when the rate was last told.
    since: Option<Instant>,
    /// What it has taken since.
    taken: usize,
}

impl Pace {
    /// At most `most` bytes, and at first as many.
    pub(super) fn new(most: usize) -> Self {
        Self { most, limit: most, since: None, taken: 0 }
    }

    /// How many bytes may be held.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// The stream has taken some bytes.
    pub(super) fn took(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    /// The stream has taken all that was held.
    pub(super) fn emptied(&mut self) {
        self.limit = self.limit.saturating_mul(2).min(self.most);
        self.since = None;
    }

    /// The stream takes no more just now.
    pub(super) fn blocked(&mut self) {
        let now = Instant::now();
        let elapsed = self.since.map_or(Duration::ZERO, |since| now - since);
        if elapsed >= HORIZON {
            let within = self.taken as u128 * HORIZON.as_nanos() / elapsed.as_nanos();
            let within = usize::try_from(within).unwrap_or(usize::MAX);
            self.limit = within.max(LEAST).min(self.most);
        }
        if self.since.is_none() || elapsed >= HORIZON {
            (self.since, self.taken) = (Some(now), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 256 * 1024;

    /// The limit for a stream that is always full and takes `rate` bytes a second, a millisecond's
    /// worth at a time.
    async fn limit_at(rate: usize) -> usize {
        let mut pace = Pace::new(MOST);
        for _ in 0..100 {
            pace.took(rate / 1_000);
            pace.blocked();
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        pace.limit()
    }

    #[tokio::test(start_paused = true)]
    async fn five_milliseconds_are_held() {
        assert_eq!(limit_at(20_000_000).await, 100_000);
        assert_eq!(limit_at(1_000_000_000).await, MOST);
        assert_eq!(limit_at(1_000_000).await, LEAST);
        assert_eq!(limit_at(0).await, LEAST);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_everything_gets_more_again() {
        let mut pace = Pace::new(MOST);
        pace.blocked();
        tokio::time::advance(HORIZON).await;
        pace.blocked();
        assert_eq!(pace.limit(), LEAST);
        for _ in 0..10 {
            pace.emptied();
        }
        assert_eq!(pace.limit(), MOST);
    }

    #[test]
    fn a_small_buffer_stays_small() {
        assert_eq!(Pace::new(8).limit(), 8);
    }
}
