use std::time::Instant;

/// The time now: the one place of the pipeline that asks.
///
/// It goes through tokio's clock, so that tests can pause and advance it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
