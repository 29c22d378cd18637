use std::pin::pin;
use std::task::Context;
use std::time::{Duration, Instant};

use tokio::task::yield_now;

use crate::clock;

/// Whether a task looks again before it sleeps, and when packets have moved last.
#[derive(Debug, Default)]
pub(crate) struct BusyPoll {
    limit: Duration,
    moved: Option<Instant>,
}

impl BusyPoll {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, moved: None }
    }

    /// Packets have moved.
    pub(crate) fn moved(&mut self) {
        self.moved = (!self.limit.is_zero()).then(clock::now);
    }

    /// Has the task polled again, after all others and the driver, unless nothing has moved for too
    /// long.
    pub(crate) fn look_again(&self, cx: &mut Context<'_>) {
        if self.moved.is_some_and(|moved| clock::now().duration_since(moved) < self.limit) {
            let _wakes_later = pin!(yield_now()).poll(cx);
        }
    }
}
