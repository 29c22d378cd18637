use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// Wakes a stage when the earliest deadline has come.
///
/// It is moved only to earlier deadlines; one that has been put off makes a single early wake-up,
/// after which the timer is set anew. With no deadline nothing is armed.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: Option<Instant>,
}

impl Timer {
    /// Arranges a wake-up of `cx` at `deadline`.
    pub(crate) fn arm(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) {
        let Some(deadline) = deadline else {
            self.sleep = None;
            self.armed = None;
            return;
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
        if self.armed.is_none_or(|armed| deadline < armed) {
            sleep.as_mut().reset(deadline.into());
            self.armed = Some(deadline);
        }
        if let Poll::Ready(()) = sleep.as_mut().poll(cx) {
            self.armed = None;
            cx.waker().wake_by_ref();
        }
    }
}
