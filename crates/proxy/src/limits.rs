//! How much of everything there may be.

use std::time::Duration;

const MIB: u32 = 1 << 20;

/// The numbers of a [`Config`](crate::Config); each is explained at its setter.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) connections_per_client: usize,
    pub(crate) tunnels: usize,
    pub(crate) tunnels_per_client: usize,
    pub(crate) streams: u32,
    pub(crate) stream_window: u32,
    pub(crate) connection_window: u32,
    pub(crate) buffer_budget: usize,
    pub(crate) handshake_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) tcp_idle: Duration,
    pub(crate) udp_idle: Duration,
    pub(crate) connection_idle: Duration,
    pub(crate) drain: Duration,
}

impl Limits {
    /// RFC 9113 §6.9.1: the largest flow-control window.
    pub(crate) const MAX_WINDOW: u32 = (1 << 31) - 1;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            connections_per_client: 1_024,
            tunnels: 16_384,
            tunnels_per_client: 16_384,
            streams: 4_096,
            stream_window: 16 * MIB,
            connection_window: 64 * MIB,
            buffer_budget: 1 << 30,
            handshake_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            tcp_idle: Duration::from_mins(124),
            udp_idle: Duration::from_mins(5),
            connection_idle: Duration::from_hours(1),
            drain: Duration::from_secs(10),
        }
    }
}
