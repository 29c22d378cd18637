//! The memory that all connections of a client may be asked to hold unread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The window that HTTP/2 begins with, and that no connection can be refused (RFC 9113 §6.9.2), in
/// round figures.
const BASE: u32 = 64 * 1024;

/// What is given of a scarce budget is a multiple of this, in bytes.
const UNIT: u32 = 64 * 1024;

/// What the connections' windows may come to in all, in bytes.
#[derive(Debug)]
pub(crate) struct Budget {
    left: AtomicU64,
    used: AtomicU64,
}

impl Budget {
    /// `total` bytes, of which so many connections have their first window in any case.
    pub(crate) fn new(total: u64, connections: usize) -> Arc<Self> {
        let bases = u64::from(BASE).saturating_mul(connections as u64);
        Arc::new(Self { left: total.saturating_sub(bases).into(), used: 0.into() })
    }

    /// The sum of the connections' windows.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes up to `wanted` bytes, but half of what is left at most: others want some, too.
    fn take(&self, wanted: u32) -> u32 {
        let grant = |left: u64| {
            let most = u32::try_from(left / 2).unwrap_or(u32::MAX);
            if wanted <= most { wanted } else { most / UNIT * UNIT }
        };
        let take = |left: u64| Some(left - u64::from(grant(left)));
        let before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        grant(before.unwrap_or(0))
    }
}

/// One connection's part of the budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    budget: Arc<Budget>,
    /// What was taken of the budget.
    taken: u32,
    /// The whole window.
    bytes: u32,
}

impl Lease {
    /// A window of up to `wanted` bytes, and of 64 KiB at least where so many are wanted.
    pub(crate) fn new(budget: &Arc<Budget>, wanted: u32) -> Self {
        let mut lease = Self { budget: Arc::clone(budget), taken: 0, bytes: 0 };
        lease.enlarge(wanted.min(BASE));
        lease.grow_to(wanted);
        lease
    }

    /// The window's size.
    pub(crate) fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Takes more, up to `wanted` bytes in all; tells whether there was any.
    pub(crate) fn grow_to(&mut self, wanted: u32) -> bool {
        let more = self.budget.take(wanted.saturating_sub(self.bytes));
        self.taken += more;
        self.enlarge(more);
        more > 0
    }

    fn enlarge(&mut self, bytes: u32) {
        self.bytes += bytes;
        self.budget.used.fetch_add(bytes.into(), Ordering::Relaxed);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.taken.into(), Ordering::Relaxed);
        self.budget.used.fetch_sub(self.bytes.into(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u32 = 1 << 20;

    #[test]
    fn the_sum_of_all_windows_stays_within_the_budget() {
        let total = 64 << 20;
        let budget = Budget::new(total, 256);
        let mut leases: Vec<_> = (0..256).map(|_| Lease::new(&budget, 4 * MIB)).collect();
        assert_eq!(leases[0].bytes(), 4 * MIB);
        assert_eq!(leases[255].bytes(), BASE);
        for lease in &mut leases {
            lease.grow_to(64 * MIB);
        }
        assert!(budget.used() <= total, "{}", budget.used());
        assert!(budget.used() > total - (1 << 20), "{}", budget.used());
        drop(leases);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_window_grows_to_what_is_wanted_and_by_half_of_the_rest_at_most() {
        let budget = Budget::new(64 << 20, 0);
        let mut lease = Lease::new(&budget, 1_000);
        assert_eq!(lease.bytes(), 1_000);
        assert!(!lease.grow_to(1_000));
        assert!(lease.grow_to(1_000_000));
        assert_eq!(lease.bytes(), 1_000_000);
        assert!(lease.grow_to(48 * MIB));
        assert!(lease.bytes() > 31 * MIB && lease.bytes() < 33 * MIB, "{}", lease.bytes());
    }
}
