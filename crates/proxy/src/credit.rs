//! Bytes that wait for stalled targets: counted for each client connection and for the server, so
//! that the connection's window can be kept open for the tunnels that are not stalled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use futures::task::AtomicWaker;

use crate::limits::Limits;

/// What the tunnels of one client connection hold.
#[derive(Debug)]
pub(crate) struct Lane {
    /// By how much the held bytes must change before the window is set anew.
    step: usize,
    held: AtomicUsize,
    /// What of it the window was widened by.
    counted: AtomicUsize,
    server: Arc<AtomicUsize>,
    driver: AtomicWaker,
}

impl Lane {
    /// A lane of the server that holds `server` bytes in all.
    pub(crate) fn new(server: Arc<AtomicUsize>, limits: &Limits) -> Arc<Self> {
        let (held, counted) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let step = usize::try_from(limits.connection_window / 16).unwrap_or(usize::MAX).max(1);
        Arc::new(Self { step, held, counted, server, driver: AtomicWaker::new() })
    }

    /// The window that the connection should have now, if it must change. `driver` is woken when it
    /// must change again.
    pub(crate) fn poll_window(&self, driver: &Waker, limits: &Limits) -> Option<u32> {
        self.driver.register(driver);
        let held = self.held.load(Ordering::Acquire);
        if !self.is_due(held) {
            return None;
        }
        let excess = self.server.load(Ordering::Acquire).saturating_sub(limits.buffer_budget);
        let extra = held.saturating_sub(excess);
        // What was not granted stays due: it is looked at again whenever the connection is polled.
        self.counted.store(extra, Ordering::Release);
        let extra = u32::try_from(extra).unwrap_or(Limits::MAX_WINDOW);
        Some(limits.connection_window.saturating_add(extra).min(Limits::MAX_WINDOW))
    }

    fn change(&self, from: usize, to: usize) {
        if to >= from {
            self.server.fetch_add(to - from, Ordering::AcqRel);
            self.held.fetch_add(to - from, Ordering::AcqRel);
        } else {
            self.server.fetch_sub(from - to, Ordering::AcqRel);
            self.held.fetch_sub(from - to, Ordering::AcqRel);
        }
        if self.is_due(self.held.load(Ordering::Acquire)) {
            self.driver.wake();
        }
    }

    fn is_due(&self, held: usize) -> bool {
        held.abs_diff(self.counted.load(Ordering::Acquire)) >= self.step
    }
}

/// What one tunnel holds; given back on drop.
#[derive(Debug)]
pub(crate) struct Hold {
    lane: Arc<Lane>,
    bytes: usize,
}

impl Hold {
    pub(crate) fn new(lane: Arc<Lane>) -> Self {
        Self { lane, bytes: 0 }
    }

    /// The tunnel holds so many bytes now.
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            self.lane.change(self.bytes, bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn limits(buffer_budget: usize) -> Limits {
        Limits { connection_window: 16 << 20, buffer_budget, ..Limits::default() }
    }

    fn window(lane: &Lane, limits: &Limits) -> Option<u32> {
        lane.poll_window(Waker::noop(), limits)
    }

    #[test]
    fn held_bytes_are_added_to_the_window() {
        let limits = limits(1 << 30);
        let lane = Lane::new(Arc::default(), &limits);
        let mut hold = Hold::new(Arc::clone(&lane));
        hold.set(MIB - 1);
        assert_eq!(window(&lane, &limits), None);
        hold.set(3 * MIB);
        assert_eq!(window(&lane, &limits), Some(19 << 20));
        assert_eq!(window(&lane, &limits), None);
        drop(hold);
        assert_eq!(window(&lane, &limits), Some(16 << 20));
    }

    #[test]
    fn the_budget_of_the_server_ends_it() {
        let limits = limits(4 * MIB);
        let server = Arc::default();
        let one = Lane::new(Arc::clone(&server), &limits);
        let two = Lane::new(server, &limits);
        let (mut first, mut second) = (Hold::new(Arc::clone(&one)), Hold::new(Arc::clone(&two)));
        first.set(3 * MIB);
        assert_eq!(window(&one, &limits), Some(19 << 20));
        second.set(3 * MIB);
        assert_eq!(window(&two, &limits), Some(17 << 20));
        drop(first);
        assert_eq!(window(&two, &limits), Some(19 << 20));
    }
}
