use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use lru::LruCache;

/// How many askers are told apart; who was silent longest is forgotten first.
const MAX_SOURCES: usize = 1_024;

/// What one asker may do, so that none can take everything.
#[derive(Debug)]
pub(crate) struct Limits {
    sources: LruCache<IpAddr, Source>,
    /// The time that one question is worth.
    interval: Duration,
    /// How much of it may be used in advance.
    burst: Duration,
    max_waiting: usize,
}

/// The generic cell rate algorithm: one instant says it all.
#[derive(Debug)]
struct Source {
    paid_until: Instant,
    waiting: usize,
}

impl Limits {
    /// `rate` questions a second, and as many at once; `max_waiting` without an answer.
    pub(crate) fn new(rate: u32, max_waiting: usize) -> Self {
        let interval = Duration::from_secs(1) / rate.max(1);
        Self {
            sources: LruCache::unbounded(),
            interval,
            burst: Duration::from_secs(1),
            max_waiting,
        }
    }

    /// Whether a question may be looked at.
    pub(crate) fn admit(&mut self, now: Instant, source: IpAddr) -> bool {
        let source = group(source);
        let entry =
            self.sources.get_or_insert_mut(source, || Source { paid_until: now, waiting: 0 });
        let paid_until = entry.paid_until.max(now);
        let admitted = paid_until.duration_since(now) < self.burst;
        if admitted {
            entry.paid_until = paid_until + self.interval;
        }
        while self.sources.len() > MAX_SOURCES {
            self.sources.pop_lru();
        }
        admitted
    }

    /// Whether a question may wait for its answer; [`done`](Self::done) must follow if so.
    pub(crate) fn may_wait(&mut self, source: IpAddr) -> bool {
        let Some(entry) = self.sources.get_mut(&group(source)) else { return false };
        let admitted = entry.waiting < self.max_waiting;
        entry.waiting += usize::from(admitted);
        admitted
    }

    /// A question that waited has its answer.
    pub(crate) fn done(&mut self, source: IpAddr) {
        if let Some(entry) = self.sources.peek_mut(&group(source)) {
            entry.waiting = entry.waiting.saturating_sub(1);
        }
    }
}

/// Whoever has an IPv6 address has 2⁶⁴ of them.
fn group(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}
