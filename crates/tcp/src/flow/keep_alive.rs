use std::time::Duration;

use super::Flow;
use crate::clock::Time;
use crate::context::Context;
use crate::{CloseCause, Config};

/// The longest time between two keep-alives of one silence.
const INTERVAL: Duration = Duration::from_secs(75);
/// Keep-alives without an answer after which the app is gone.
const MAX_UNANSWERED: u8 = 9;

/// RFC 9293 §3.8.4: asking an app that has been silent whether it is still there.
impl Flow {
    /// The app was heard.
    pub(super) fn heard(&mut self, now: Time) {
        self.last_heard = now;
        self.keep_alives = 0;
    }

    /// When the next keep-alive is due; never unless it was asked for.
    pub(super) fn keep_alive_due(&self, config: &Config) -> Option<Time> {
        let after = config.keep_alive?;
        let asks = !self.state.is_opening() && !self.state.is_terminal() && self.sender.is_idle();
        let interval = after.min(INTERVAL);
        asks.then(|| self.last_heard + after + interval * u32::from(self.keep_alives))
    }

    pub(super) fn on_keep_alive(&mut self, cx: &mut Context<'_>) {
        if self.keep_alives >= MAX_UNANSWERED {
            return self.abort(cx, CloseCause::TimedOut);
        }
        self.keep_alives += 1;
        self.sender.owe_probe();
        self.ledger.wants_transmit = true;
    }
}
