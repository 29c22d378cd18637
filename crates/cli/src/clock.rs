//! The two clocks of the program.

use std::time::{Duration, Instant, SystemTime};

/// The moment `after` from now, for deadlines.
pub(crate) fn deadline(after: Duration) -> Instant {
    (tokio::time::Instant::now() + after).into_std()
}

/// The time since 1 January 1970 UTC, for captures.
#[expect(
    clippy::disallowed_methods,
    reason = "captures carry the time of day, which nothing else knows"
)]
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
