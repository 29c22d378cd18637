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
