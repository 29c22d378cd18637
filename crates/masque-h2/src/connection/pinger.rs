//! The one PING of ours that HTTP/2's library lets be under way.

use std::task::Context;

use h2::{Ping, PingPong};

/// Sends PINGs and hears their answers, for whoever wants to know.
#[derive(Debug)]
pub(crate) struct Pinger {
    ping: Option<PingPong>,
    waiting: bool,
}

impl Pinger {
    /// Without a handle nothing is ever sent or answered.
    pub(crate) fn new(ping: Option<PingPong>) -> Self {
        Self { ping, waiting: false }
    }

    /// Sends a PING; one that is still unanswered serves again.
    pub(crate) fn send(&mut self, cx: &mut Context<'_>) {
        if !self.is_waiting(cx)
            && let Some(ping) = &mut self.ping
        {
            self.waiting = ping.send_ping(Ping::opaque()).is_ok();
        }
    }

    /// Whether a PING is still unanswered; the task is woken by the answer.
    pub(crate) fn is_waiting(&mut self, cx: &mut Context<'_>) -> bool {
        if self.waiting
            && let Some(ping) = &mut self.ping
        {
            self.waiting = ping.poll_pong(cx).is_pending();
        }
        self.waiting
    }
}
