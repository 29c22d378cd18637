//! Dialling until there is a connection.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Weak;
use std::time::Duration;

use tokio::time::sleep;

use super::Pool;
use crate::connection::Owner;

/// The pause after the first failed dial; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause: a proxy that returns serves those who wait well within a second.
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// Dials until there is a connection, or nobody wants one any more. No lock is held meanwhile. When
/// the network changes, a dial under way is begun anew and a pause ends.
pub(super) async fn keep_dialling(pool: Weak<Pool>) {
    let mut dials = 0;
    loop {
        let Some(live) = pool.upgrade() else { return };
        let owner: Weak<dyn Owner> = Weak::<Pool>::clone(&pool);
        let large = live.memory.wants_large_windows();
        let dialled = tokio::select! {
            dialled = live.dialer.dial(large, owner) => dialled,
            () = live.network.notified() => continue,
        };
        dials += 1;
        let Some(pause) = live.settle(dialled, dials) else { return };
        tokio::select! {
            () = sleep(pause) => {}
            () = live.network.notified() => {}
        }
        if !live.goes_on() {
            return;
        }
    }
}

/// The pause after so many failed dials: growing, and between a half and the whole at random, so
/// that clients do not return all at once.
pub(super) fn pause_after(dials: u32) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(1 << dials.saturating_sub(1).min(10)).min(LONGEST_PAUSE);
    between_half_and_whole(whole)
}

/// A random part of `whole`, at least half of it.
pub(crate) fn between_half_and_whole(whole: Duration) -> Duration {
    let [random, ..] = RandomState::new().build_hasher().finish().to_le_bytes();
    whole / 2 + whole / 2 * u32::from(random) / u32::from(u8::MAX)
}
