//! What memory is kept, and when it is given back.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use futures::future::join_all;
use pseudotcp_tun::give_back_memory;
use tokio::sync::watch;
use tokio::time::sleep;

/// How much free memory is kept for the next burst, in octets.
const KEPT: u32 = 64 << 20;

/// How long the start takes, with the connections of all shards.
const START: Duration = Duration::from_secs(1);

/// How often memory is given back after flows have ended, and with what pause before each: the last of it
/// is free 15 s later, when connections to the proxy that nobody needs have closed.
const GIVEN_BACK: u32 = 3;
const PAUSE: Duration = Duration::from_secs(8);

/// Gives back to the system what only the start took; keeps memory while there is traffic, and gives it
/// back after flows have ended, as `crowds` tell. Never ends.
pub(super) async fn manage(crowds: Vec<watch::Receiver<usize>>) -> Infallible {
    pseudotcp_tun::keep_memory(KEPT);
    sleep(START).await;
    give_back_memory();
    join_all(crowds.into_iter().map(|crowd| after_each(crowd, give_back_memory))).await;
    pending().await
}

/// Gives back after each time that the crowd has become smaller, until there is none to be watched.
async fn after_each(mut crowd: watch::Receiver<usize>, give_back: impl Fn()) {
    let (mut flows, mut left) = (0, 0);
    while left > 0 || crowd.changed().await.is_ok() {
        let has_changed = left == 0 || crowd.has_changed().unwrap_or(false);
        let before = std::mem::replace(&mut flows, *crowd.borrow_and_update());
        // What has changed and is no larger may have grown and shrunk again.
        if has_changed && flows <= before {
            left = GIVEN_BACK;
        }
        if left > 0 {
            left -= 1;
            sleep(PAUSE).await;
            give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_crowd_that_comes_and_goes_meanwhile_is_seen_all_the_same() {
        let (crowd, watched) = watch::channel(0);
        let times = Cell::new(0);
        let mut giving = Box::pin(after_each(watched, || times.set(times.get() + 1)));
        let mut pass = async |pauses| {
            let _it_goes_on = timeout(PAUSE * pauses, &mut giving).await;
            times.replace(0)
        };
        crowd.send_replace(8_192);
        assert_eq!(pass(10).await, 0, "nothing has ended");
        crowd.send_replace(0);
        assert_eq!(pass(2).await, 2);
        for flows in [8_192, 0] {
            crowd.send_replace(flows);
        }
        assert_eq!(pass(10).await, 1 + GIVEN_BACK);
    }
}
