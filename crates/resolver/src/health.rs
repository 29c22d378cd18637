use std::time::{Duration, Instant};

/// How long a server that failed once is asked after all others; doubled with each failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause: one question a minute finds out whether a server is back.
const MAX_PAUSE: Duration = Duration::from_mins(1);

/// Before a server's time is known, and at the most, the next one joins after this long.
const MAX_HEDGE: Duration = Duration::from_millis(200);
/// Answers from memory take microseconds; that is no reason to ask two servers at the first hiccup.
const MIN_HEDGE: Duration = Duration::from_millis(50);
/// How many times the usual time an answer may take before the next server joins.
const HEDGE_FACTOR: u32 = 3;

/// How a server has done of late.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Health {
    /// The smoothed time of an answer (RFC 6298 §2: a new sample counts an eighth).
    usual: Option<Duration>,
    failures: u32,
    paused_until: Option<Instant>,
}

impl Health {
    /// An answer came after `took`.
    pub(crate) fn succeeded(&mut self, took: Duration) {
        let usual = self.usual.map_or(took, |usual| (usual * 7 + took) / 8);
        *self = Self { usual: Some(usual), ..Self::default() };
    }

    /// No answer came.
    pub(crate) fn failed(&mut self, now: Instant) {
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.paused_until = now.checked_add(pause.min(MAX_PAUSE));
    }

    /// Whether the server shall have its place in the order.
    pub(crate) fn is_good(&self, now: Instant) -> bool {
        self.paused_until.is_none_or(|until| until <= now)
    }

    /// How long an answer may take before another server is asked too.
    pub(crate) fn patience(&self) -> Duration {
        let usual = self.usual.map_or(MAX_HEDGE, |usual| usual * HEDGE_FACTOR);
        usual.clamp(MIN_HEDGE, MAX_HEDGE)
    }
}

/// The order in which servers are asked: those that do well as configured, then the others.
pub(crate) fn order(now: Instant, servers: &[Health]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..servers.len()).collect();
    order.sort_by_key(|&index| servers.get(index).is_none_or(|health| !health.is_good(now)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "the origin of the virtual time")]
    fn epoch() -> Instant {
        Instant::now()
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn d34_a_server_that_fails_is_asked_last_for_a_while() {
        let (now, mut servers) = (epoch(), [Health::default(); 3]);
        assert_eq!(order(now, &servers), [0, 1, 2]);
        servers[0].failed(now);
        assert_eq!(order(now, &servers), [1, 2, 0]);
        assert_eq!(order(now + millis(1_000), &servers), [0, 1, 2]);
        servers[0].failed(now);
        assert_eq!(order(now + millis(1_999), &servers), [1, 2, 0]);
        servers[1].failed(now);
        assert_eq!(order(now, &servers), [2, 0, 1]);
        servers[0].succeeded(millis(10));
        assert_eq!(order(now, &servers), [0, 2, 1]);
    }

    #[test]
    fn pauses_do_not_grow_beyond_a_minute() {
        let (now, mut server) = (epoch(), Health::default());
        for _ in 0..100 {
            server.failed(now);
        }
        assert!(!server.is_good(now + millis(59_999)) && server.is_good(now + millis(60_000)));
    }

    #[test]
    fn patience_follows_what_was_measured() {
        let mut server = Health::default();
        assert_eq!(server.patience(), MAX_HEDGE);
        server.succeeded(millis(40));
        assert_eq!(server.patience(), millis(120));
        for _ in 0..100 {
            server.succeeded(millis(1));
        }
        assert_eq!(server.patience(), MIN_HEDGE);
        server.succeeded(millis(10_000));
        assert_eq!(server.patience(), MAX_HEDGE);
    }
}
