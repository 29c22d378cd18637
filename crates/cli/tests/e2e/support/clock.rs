//! Real time, for limits and for what is measured.

use std::time::{Duration, Instant};

/// The only look at the clock of these tests.
#[expect(clippy::disallowed_methods, reason = "kernels and programs under test run in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What a call returns, and how long it took.
pub(crate) fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let start = now();
    let value = call();
    (value, start.elapsed())
}

/// Lets real time pass, where how long something lasts is what is tested.
pub(crate) fn wait_until(then: Instant) {
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(then.saturating_duration_since(now()));
}

/// Waits until a condition holds that others bring about; panics where it takes too long.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = now() + Duration::from_secs(40);
    while !condition() {
        assert!(now() < limit, "not in time: {what}");
        wait_until(now() + Duration::from_millis(10));
    }
}
