use std::pin::pin;
use std::task::Context;
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::yield_now;

use crate::{Direction, clock};

/// So many short pauses in a row promise one more.
const SHORT: u8 = 2;
/// After so many pauses without an answer, what moves is a stream.
const STREAM: u8 = 16;

/// Whether a task looks for more before it sleeps: while two sides talk to each other, in short pauses.
/// Who reads a stream is not served any sooner by that.
#[derive(Debug, Default)]
pub(crate) struct BusyPoll {
    limit: Duration,
    /// Since when there has been nothing to move.
    dry: Option<Instant>,
    /// Pauses in a row that were shorter than the limit.
    short: u8,
    /// Where payload went last.
    way: Option<Direction>,
    /// Pauses since some went the other way.
    unanswered: u8,
}

impl BusyPoll {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Packets have moved: if there was a pause, it is over.
    pub(crate) fn moved(&mut self) {
        if let Some(dry) = self.dry.take() {
            let is_short = clock::now().duration_since(dry) < self.limit;
            self.short = if is_short { self.short.saturating_add(1) } else { 0 };
            self.unanswered = self.unanswered.saturating_add(1);
        }
    }

    /// Payload has moved.
    pub(crate) fn spoke(&mut self, way: Direction) {
        if self.way.replace(way) != Some(way) {
            self.unanswered = 0;
        }
    }

    /// Nothing is left to move. Where it promises something the task is polled again, after all others
    /// and the driver; other threads that wait for the core have it first.
    pub(crate) fn dry(&mut self, cx: &mut Context<'_>) {
        if self.limit.is_zero() {
            return;
        }
        let now = clock::now();
        let dry = *self.dry.get_or_insert(now);
        let is_talk = self.short >= SHORT && self.unanswered < STREAM;
        if is_talk && now.duration_since(dry) < self.limit {
            thread::yield_now();
            let _wakes_later = pin!(yield_now()).poll(cx);
        }
    }
}
