use std::time::Duration;

use tokio::time::Instant;

use super::frame::LEAST;

/// What is held shall have left after so long: what comes behind it may be in a hurry.
const HORIZON: Duration = Duration::from_millis(2);

/// How much is to be held for the stream below, by how fast it takes it.
///
/// A socket takes bytes in gulps: nothing for a while, then everything that is there. So what counts
/// is how long the stream was full while it took so much, and a gulp by itself says nothing.
pub(super) struct Pace {
    most: usize,
    limit: usize,
    /// Since when the stream takes no more.
    full_since: Option<Instant>,
    /// For how long it took nothing, and how much it took, since the limit was last set.
    waited: Duration,
    taken: usize,
}

impl Pace {
    /// At most `most` bytes, and at first as many.
    pub(super) fn new(most: usize) -> Self {
        Self { most, limit: most, full_since: None, waited: Duration::ZERO, taken: 0 }
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
        let since = self.full_since.take();
        self.waited += since.map_or(Duration::ZERO, |since| since.elapsed());
        self.adapt();
    }

    /// The stream takes no more just now.
    pub(super) fn blocked(&mut self) {
        let now = Instant::now();
        let since = self.full_since.replace(now);
        self.waited += since.map_or(Duration::ZERO, |since| now - since);
        self.adapt();
    }

    /// Sets the limit as soon as enough is known.
    fn adapt(&mut self) {
        if self.waited < HORIZON && self.taken < self.most {
            return;
        }
        let within = (self.taken as u128 * HORIZON.as_nanos()).checked_div(self.waited.as_nanos());
        let within = within.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(self.most);
        self.limit = within.max(LEAST).min(self.most);
        (self.waited, self.taken) = (Duration::ZERO, 0);
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
    async fn two_milliseconds_are_held() {
        assert_eq!(limit_at(20_000_000).await, 40_000);
        assert_eq!(limit_at(1_000_000_000).await, MOST);
        assert_eq!(limit_at(1_000_000).await, LEAST);
        assert_eq!(limit_at(0).await, LEAST);
    }

    #[tokio::test(start_paused = true)]
    async fn gulps_are_no_speed() {
        let mut pace = Pace::new(MOST);
        for _ in 0..100 {
            // 32 KiB every 13 ms are 20 Mbit/s; the first half leaves the buffer empty.
            pace.took(16 * 1024);
            pace.emptied();
            pace.took(16 * 1024);
            pace.blocked();
            tokio::time::advance(Duration::from_millis(13)).await;
        }
        assert_eq!(pace.limit(), 32 * 1024 * 2 / 13);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_everything_gets_more_again() {
        let mut pace = Pace::new(MOST);
        pace.blocked();
        tokio::time::advance(HORIZON).await;
        pace.blocked();
        assert_eq!(pace.limit(), LEAST);
        // That nothing is sent for a while tells nothing.
        pace.emptied();
        tokio::time::advance(Duration::from_secs(10)).await;
        pace.took(MOST - 1);
        pace.emptied();
        assert_eq!(pace.limit(), LEAST);
        pace.took(1);
        pace.emptied();
        assert_eq!(pace.limit(), MOST);
    }

    #[test]
    fn a_small_buffer_stays_small() {
        assert_eq!(Pace::new(8).limit(), 8);
    }
}
