//! Log lines about proxies that serve nobody: few, however often it happens.

use std::time::{Duration, Instant};

use pseudotcp_masque::OpenError;

/// The least time between two lines.
const PAUSE: Duration = Duration::from_secs(10);

/// Decides which failures deserve a line.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    quiet_until: Option<Instant>,
    withheld: u64,
}

impl Complaints {
    /// Logs an open that failed because the proxy broke the protocol or wants other credentials,
    /// unless another was logged a moment ago. Other causes are the app's to hear, and are not logged
    /// here.
    pub(super) fn hear(&mut self, now: Instant, cause: &OpenError) {
        if matches!(cause, OpenError::Protocol(_) | OpenError::Unauthenticated(_))
            && let Some(withheld) = self.admit(now)
        {
            tracing::warn!(%cause, withheld, "the proxy opened no flow");
        }
    }

    /// Whether a line may be written now; if so, how many were withheld before it.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.quiet_until.is_some_and(|until| now < until) {
            self.withheld += 1;
            return None;
        }
        self.quiet_until = Some(now + PAUSE);
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_pause_that_counts_what_it_stands_for() {
        let (mut complaints, now) = (Complaints::default(), crate::clock::now());
        assert_eq!(complaints.admit(now), Some(0));
        for _ in 0..1_000 {
            assert_eq!(complaints.admit(now + PAUSE / 2), None);
        }
        assert_eq!(complaints.admit(now + PAUSE), Some(1_000));
        assert_eq!(complaints.admit(now + PAUSE * 3), Some(0));
    }
}
