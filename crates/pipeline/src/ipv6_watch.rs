//! What a proxy's answers tell of its IPv6.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pseudotcp_masque::OpenError;

/// How long a proxy is taken to have no IPv6, until it is asked again.
const LACKING: Duration = Duration::from_mins(1);
/// How long an IPv6 flow that opened speaks against it.
const SHOWN: Duration = Duration::from_mins(10);
/// The weight at which failures are believed.
const CONVINCING: u32 = 4;

/// Weighs the answers of the proxy to IPv6 targets.
///
/// "No IPv6" counts two, "unreachable", "could not connect" and "timed out" count one, each only for
/// another host than those before; at four the proxy is taken to have no IPv6, for a minute. Then it
/// is asked again, and one failure renews the minute. A flow that opens takes all back, and what has
/// worked in the last ten minutes is believed more than any failure.
#[derive(Debug, Default)]
pub(crate) struct Ipv6Watch {
    /// Spares the lock while there is nothing to know.
    suspected: AtomicBool,
    evidence: Mutex<Evidence>,
}

#[derive(Debug, Default)]
struct Evidence {
    weight: u32,
    /// The hosts that failed, at most [`CONVINCING`] of them.
    hosts: Vec<IpAddr>,
    lacking_until: Option<Instant>,
    shown_until: Option<Instant>,
}

impl Ipv6Watch {
    /// Takes note of how an open through the proxy ended.
    pub(crate) fn hear(&self, now: Instant, target: SocketAddr, failure: Option<&OpenError>) {
        if !target.is_ipv6() {
            return;
        }
        let mut evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            None => {
                *evidence = Evidence { shown_until: now.checked_add(SHOWN), ..Evidence::default() }
            }
            Some(failure) => evidence.weigh(now, target.ip(), weight(failure)),
        }
        self.suspected.store(evidence.lacking_until.is_some(), Ordering::Relaxed);
    }

    /// Whether the proxy is taken to have no IPv6 at this time.
    pub(crate) fn is_lacking(&self, now: impl FnOnce() -> Instant) -> bool {
        self.suspected.load(Ordering::Relaxed) && {
            let evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
            evidence.lacking_until.is_some_and(|until| now() < until)
        }
    }
}

impl Evidence {
    fn weigh(&mut self, now: Instant, host: IpAddr, weight: u32) {
        if weight == 0 || self.shown_until.is_some_and(|until| now < until) {
            return;
        }
        let is_convinced = self.weight >= CONVINCING;
        if !is_convinced && !self.hosts.contains(&host) {
            self.hosts.push(host);
            self.weight += weight;
        }
        if self.weight >= CONVINCING {
            self.lacking_until = now.checked_add(LACKING);
        }
    }
}

fn weight(failure: &OpenError) -> u32 {
    match failure {
        OpenError::NoIpv6(_) => 2,
        OpenError::Unreachable(_) | OpenError::ConnectFailed(_) | OpenError::TimedOut(_) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u16) -> SocketAddr {
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, n], 443).into()
    }

    fn lacks(watch: &Ipv6Watch, now: Instant) -> bool {
        watch.is_lacking(|| now)
    }

    #[test]
    fn two_plain_words_or_four_hints_about_different_hosts_convince() {
        let now = crate::clock::now();
        for (failure, needed) in [(OpenError::NoIpv6(None), 2), (OpenError::TimedOut(None), 4)] {
            let watch = Ipv6Watch::default();
            for n in 1..needed {
                watch.hear(now, host(n), Some(&failure));
                watch.hear(now, host(n), Some(&failure));
            }
            assert!(!lacks(&watch, now), "{failure}: one host says nothing new");
            watch.hear(now, host(needed), Some(&failure));
            assert!(lacks(&watch, now), "{failure}");
        }
    }

    #[test]
    fn other_failures_and_other_versions_say_nothing() {
        let (watch, now) = (Ipv6Watch::default(), crate::clock::now());
        for n in 0..100 {
            watch.hear(now, host(n), Some(&OpenError::Refused(None)));
            watch.hear(now, ([192, 0, 2, 1], 443).into(), Some(&OpenError::Unreachable(None)));
        }
        assert!(!lacks(&watch, now));
    }

    #[test]
    fn after_a_minute_the_proxy_is_asked_again_and_one_failure_renews_it() {
        let (watch, now) = (Ipv6Watch::default(), crate::clock::now());
        watch.hear(now, host(1), Some(&OpenError::NoIpv6(None)));
        watch.hear(now, host(2), Some(&OpenError::NoIpv6(None)));
        let later = now + LACKING;
        assert!(!lacks(&watch, later));
        watch.hear(later, host(1), Some(&OpenError::TimedOut(None)));
        assert!(lacks(&watch, later));
    }

    #[test]
    fn what_works_outweighs_what_fails() {
        let (watch, now) = (Ipv6Watch::default(), crate::clock::now());
        let fail_twice =
            |now| (1..3).for_each(|n| watch.hear(now, host(n), Some(&OpenError::NoIpv6(None))));
        fail_twice(now);
        watch.hear(now, host(3), None);
        assert!(!lacks(&watch, now));
        fail_twice(now);
        assert!(!lacks(&watch, now));
        fail_twice(now + SHOWN);
        assert!(lacks(&watch, now + SHOWN));
    }
}
