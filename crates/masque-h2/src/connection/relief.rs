//! What happens when flows that nobody reads have filled a connection's window.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::link::Link;
use super::windows::Windows;

/// How long a flow's owner may take nothing while others have no room: 5 s.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the flows are looked through at the most.
const AGAIN: Duration = Duration::from_millis(500);

/// Makes room for flows that are read: a larger window while there is one to be had, and then at the
/// price of the flow that has stalled longest. Arms no timer while there is room.
#[derive(Debug, Default)]
pub(crate) struct Relief {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Relief {
    /// To be called after each poll of the connection.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, link: &Link, windows: &mut Windows) {
        let window = windows.connection() as usize;
        if link.held() < window - window / 8 || windows.widen() {
            self.timer = None;
            return;
        }
        while self.timer.as_mut().is_none_or(|timer| timer.as_mut().poll(cx).is_ready()) {
            let next = relieve(link).max(Instant::now() + AGAIN);
            self.timer = Some(Box::pin(sleep_until(next)));
        }
    }
}

/// Gives up the flow that has stalled longest, if long enough and to somebody's good. Tells when to
/// look again.
fn relieve(link: &Link) -> Instant {
    let now = Instant::now();
    let flows = link.all_flows();
    let stalled = flows.iter().filter_map(|flow| Some((flow.stalled_since()?, flow)));
    let (mut count, mut longest) = (0, None);
    for (since, flow) in stalled {
        count += 1;
        if longest.as_ref().is_none_or(|(earliest, _)| since < *earliest) {
            longest = Some((since, flow));
        }
    }
    match longest {
        // Where all of them stall nobody waits for room.
        Some((since, flow)) if count < flows.len() && since + PATIENCE <= now => {
            flow.give_up();
            link.gave_up();
            now
        }
        Some((since, _)) => since + PATIENCE,
        None => now,
    }
}
