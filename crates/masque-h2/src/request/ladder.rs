//! Which dialect to try first, and what a proxy has been seen to speak.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::message::Dialect;
use crate::config::{TcpDialect, UdpDialect};

/// What has been learnt of a proxy, in the time of its client.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    tcp: AtomicU8,
    udp: AtomicU8,
    /// Whether the proxy wants `Authorization` (401) rather than `Proxy-Authorization` (407).
    pub(super) wants_authorization: AtomicBool,
    /// Whether small windows would harm flows at this proxy.
    large_windows: AtomicBool,
    /// Whether connect-udp over HTTP/2 can be counted on.
    udp_is_sure: AtomicBool,
}

/// Nothing is known, or the second dialect is not spoken either.
const UNKNOWN: u8 = 0;
const SECOND: u8 = 1;
const FIRST_ONLY: u8 = 2;

/// Up to two dialects for one kind of flow.
#[derive(Clone, Copy)]
pub(super) struct Ladder<'a> {
    first: Dialect,
    second: Option<Dialect>,
    memory: &'a AtomicU8,
}

impl<'a> Ladder<'a> {
    pub(super) fn tcp(wanted: TcpDialect, memory: &'a Memory) -> Self {
        let (first, second) = match wanted {
            TcpDialect::Auto => (Dialect::Connect, Some(Dialect::ConnectTcp)),
            TcpDialect::Connect => (Dialect::Connect, None),
            TcpDialect::ConnectTcp => (Dialect::ConnectTcp, None),
        };
        Self { first, second, memory: &memory.tcp }
    }

    pub(super) fn udp(wanted: UdpDialect, memory: &'a Memory) -> Self {
        let (first, second) = match wanted {
            UdpDialect::Auto => (Dialect::ConnectUdp, Some(Dialect::ConnectUdpDraft03)),
            UdpDialect::Rfc9298 => (Dialect::ConnectUdp, None),
            UdpDialect::Draft03 => (Dialect::ConnectUdpDraft03, None),
        };
        Self { first, second, memory: &memory.udp }
    }

    /// The dialects to try, in their order.
    pub(super) fn steps(self) -> (Dialect, Option<Dialect>) {
        match (self.memory.load(Ordering::Relaxed), self.second) {
            (SECOND, Some(second)) => (second, None),
            (FIRST_ONLY, _) => (self.first, None),
            _ => (self.first, self.second),
        }
    }

    /// The proxy speaks the second dialect and not the first.
    pub(super) fn second_is_spoken(self) {
        self.memory.store(SECOND, Ordering::Relaxed);
    }

    /// The proxy speaks neither, or at least not the second.
    pub(super) fn second_is_foreign(self) {
        self.memory.store(FIRST_ONLY, Ordering::Relaxed);
    }
}

impl Memory {
    /// Whether small windows would harm flows at this proxy.
    pub(crate) fn wants_large_windows(&self) -> bool {
        self.large_windows.load(Ordering::Relaxed)
    }

    pub(super) fn want_large_windows(&self) {
        self.large_windows.store(true, Ordering::Relaxed);
    }

    /// Whether the last connect-udp over HTTP/2 failed at most for a reason of its target's.
    pub(super) fn is_sure_of_udp(&self) -> bool {
        self.udp_is_sure.load(Ordering::Relaxed)
    }

    pub(super) fn be_sure_of_udp(&self, sure: bool) {
        self.udp_is_sure.store(sure, Ordering::Relaxed);
    }

    /// Forgets what was learnt, as another proxy may answer from now on.
    pub(crate) fn forget(&self) {
        self.tcp.store(UNKNOWN, Ordering::Relaxed);
        self.udp.store(UNKNOWN, Ordering::Relaxed);
        self.large_windows.store(false, Ordering::Relaxed);
        self.be_sure_of_udp(false);
    }
}
