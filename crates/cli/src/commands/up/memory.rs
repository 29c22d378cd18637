//! What memory is kept, and when it is given back.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;
use tokio::time::sleep;

/// How much free memory is kept for the next burst, in octets.
const KEPT: u32 = 64 << 20;

/// How often memory is given back after flows have ended, and with what pause before each: the last of it
/// is free 15 s later, when connections to the proxy that nobody needs have closed.
const GIVEN_BACK: u32 = 3;
const PAUSE: Duration = Duration::from_secs(8);

/// Gives back to the system what only the start took; keeps memory while there is traffic, and gives it
/// back after flows have ended, as `crowds` tell. Never ends.
pub(super) async fn manage(crowds: Vec<watch::Receiver<usize>>) -> Infallible {
    pseudotcp_tun::keep_memory(KEPT);
    pseudotcp_tun::give_back_memory();
    join_all(crowds.into_iter().map(give_back_after)).await;
    pending().await
}

async fn give_back_after(mut crowd: watch::Receiver<usize>) {
    let (mut flows, mut left) = (0, 0);
    while left > 0 || crowd.changed().await.is_ok() {
        let before = std::mem::replace(&mut flows, *crowd.borrow_and_update());
        if flows < before {
            left = GIVEN_BACK;
        }
        if left > 0 {
            left -= 1;
            sleep(PAUSE).await;
            pseudotcp_tun::give_back_memory();
        }
    }
}
