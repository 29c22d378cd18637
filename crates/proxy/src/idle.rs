use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Longer than any tunnel lives; a clock may not reach beyond.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// Notices silence. Activity costs a look at the clock; the timer itself moves only when it fires.
pub(crate) struct IdleTimer {
    limit: Duration,
    last: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl IdleTimer {
    pub(crate) fn new(limit: Duration) -> Self {
        let (limit, last) = (limit.min(LONGEST), Instant::now());
        Self { limit, last, sleep: Box::pin(sleep_until(last + limit)) }
    }

    /// Something moved.
    pub(crate) fn touch(&mut self) {
        self.last = Instant::now();
    }

    /// From now on silence may last no longer than this.
    pub(crate) fn shorten(&mut self, limit: Duration) {
        self.limit = self.limit.min(limit);
        self.touch();
        self.sleep.as_mut().reset(self.last + self.limit);
    }

    /// Ready when nothing has moved for the whole time.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            let due = self.last + self.limit;
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_whole_silence_counts() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut timer = IdleTimer::new(10 * second);
        tokio::time::sleep(7 * second).await;
        timer.touch();
        poll_fn(|cx| timer.poll(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 17);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_limit_counts_from_now() {
        let start = Instant::now();
        let mut timer = IdleTimer::new(Duration::MAX);
        tokio::time::sleep(Duration::from_secs(3)).await;
        timer.shorten(Duration::from_secs(5));
        poll_fn(|cx| timer.poll(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 8);
    }
}
