use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Notices silence. Activity costs a look at the clock; the timer itself moves only when it fires.
pub(crate) struct IdleTimer {
    limit: Duration,
    last: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl IdleTimer {
    pub(crate) fn new(limit: Duration) -> Self {
        let last = Instant::now();
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
