//! How many ICMP errors an app address may be sent (RFC 1812 §4.3.2.8, RFC 4443 §2.4(f)).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Errors a second, per app address.
const RATE: u32 = 1_000;
/// Errors at once, per app address.
const BURST: u32 = 200;
/// The most addresses that are told apart; when there are more, the full buckets are forgotten.
const MAX_ADDRESSES: usize = 1_024;
/// The time that one token takes to come back.
const REFILL: Duration = Duration::from_nanos(1_000_000_000 / RATE as u64);

/// The limit of ICMP errors for each app address: 1,000 a second, 200 at once.
///
/// A handle; clones share the limit. Everything between a device and a transport that sends errors
/// asks the same one ([`Stack::icmp_limit`](crate::Stack::icmp_limit)). Only errors pass through it,
/// so its lock is none on the way of the bytes.
#[derive(Clone, Debug, Default)]
pub struct IcmpLimit(Arc<Mutex<Buckets>>);

/// A token bucket per app address, kept as the time at which it is full again.
#[derive(Debug, Default)]
struct Buckets {
    full_at: HashMap<IpAddr, Instant>,
    withheld: u64,
}

impl IcmpLimit {
    /// Whether one more error may go to `app`.
    pub fn allow(&self, now: Instant, app: IpAddr) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = buckets.take(now, app);
        buckets.withheld += u64::from(!allowed);
        allowed
    }

    /// How many errors were not allowed.
    pub fn withheld(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).withheld
    }
}

impl Buckets {
    /// Takes a token of `address`; false when it has none left.
    fn take(&mut self, now: Instant, address: IpAddr) -> bool {
        if self.full_at.len() >= MAX_ADDRESSES && !self.full_at.contains_key(&address) {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        let full_at = self.full_at.entry(address).or_insert(now);
        let next = (*full_at).max(now) + REFILL;
        let allowed = next <= now + REFILL * BURST;
        if allowed {
            *full_at = next;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time zero of a test.
    fn start() -> Instant {
        crate::clock::now()
    }

    #[test]
    fn d30_a_burst_passes_then_the_rate_rules() {
        let (limit, now) = (IcmpLimit::default(), start());
        let app = IpAddr::from([10, 0, 0, 1]);
        let at_once = (0..1_000).filter(|_| limit.allow(now, app)).count();
        assert_eq!((at_once, limit.withheld()), (BURST as usize, 1_000 - u64::from(BURST)));
        let later = now + Duration::from_millis(50);
        assert_eq!((0..1_000).filter(|_| limit.clone().allow(later, app)).count(), 50);
    }

    #[test]
    fn addresses_do_not_share_a_bucket_and_their_number_is_bounded() {
        let (limit, now) = (IcmpLimit::default(), start());
        for n in 0..10_000_u32 {
            limit.allow(now, IpAddr::from(n.to_be_bytes()));
        }
        assert_eq!(limit.0.lock().unwrap().full_at.len(), MAX_ADDRESSES);
        let later = now + Duration::from_secs(1);
        assert!(limit.allow(later, IpAddr::from([192, 0, 2, 1])), "old buckets make room");
    }
}
