use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Live counters of a [`Server`](crate::Server); reading them costs nothing to the tunnels.
#[derive(Debug, Default)]
pub struct Stats {
    pub(crate) connections: Counter,
    pub(crate) connections_turned_away: Counter,
    pub(crate) handshakes_failed: Counter,
    pub(crate) tcp_tunnels: Counter,
    pub(crate) udp_tunnels: Counter,
    pub(crate) tunnels_ended: Counter,
    pub(crate) requests_refused: Counter,
    pub(crate) bytes_to_targets: Counter,
    pub(crate) bytes_from_targets: Counter,
    pub(crate) datagrams_dropped: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: usize) {
        self.0.fetch_add(amount as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts its tunnel as ended on drop, however that comes about.
pub(crate) struct OpenTunnel(pub(crate) Arc<Stats>);

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.0.tunnels_ended.add(1);
    }
}

impl Stats {
    /// Client connections that were accepted.
    pub fn connections(&self) -> u64 {
        self.connections.get()
    }

    /// Client connections that were closed at once because there were too many.
    pub fn connections_turned_away(&self) -> u64 {
        self.connections_turned_away.get()
    }

    /// Client connections that ended in the TLS or HTTP/2 handshake.
    pub fn handshakes_failed(&self) -> u64 {
        self.handshakes_failed.get()
    }

    /// TCP tunnels that were opened.
    pub fn tcp_tunnels(&self) -> u64 {
        self.tcp_tunnels.get()
    }

    /// UDP tunnels that were opened.
    pub fn udp_tunnels(&self) -> u64 {
        self.udp_tunnels.get()
    }

    /// Tunnels of both kinds that are open just now.
    pub fn open_tunnels(&self) -> u64 {
        (self.tcp_tunnels.get() + self.udp_tunnels.get()).saturating_sub(self.tunnels_ended.get())
    }

    /// Requests that were answered with an error status.
    pub fn requests_refused(&self) -> u64 {
        self.requests_refused.get()
    }

    /// Payload bytes that were handed to targets, TCP and UDP.
    pub fn bytes_to_targets(&self) -> u64 {
        self.bytes_to_targets.get()
    }

    /// Payload bytes that were received from targets, TCP and UDP.
    pub fn bytes_from_targets(&self) -> u64 {
        self.bytes_from_targets.get()
    }

    /// Datagrams that the proxy's own network would not take.
    pub fn datagrams_dropped(&self) -> u64 {
        self.datagrams_dropped.get()
    }
}
