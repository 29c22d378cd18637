//! What the client tells about itself: a watchable state and counters.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// How the client stands to its proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// No connection, and none wanted: the next flow dials.
    Idle,
    /// The first connection is being made.
    Connecting,
    /// At least one connection takes flows.
    Connected,
    /// There are connections, but not all is well: none of them answers a probe just now, or
    /// another one that is wanted cannot be made.
    Degraded {
        /// What is wrong, for people; holds no secret.
        cause: String,
    },
    /// The connection was lost, and another is being made.
    Reconnecting,
    /// The last dials failed, and none is under way; the next flow tries again.
    Failed {
        /// Why, for people; holds no secret.
        cause: String,
    },
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("idle"),
            Self::Connecting => f.write_str("connecting"),
            Self::Connected => f.write_str("connected"),
            Self::Degraded { cause } => write!(f, "degraded: {cause}"),
            Self::Reconnecting => f.write_str("reconnecting"),
            Self::Failed { cause } => write!(f, "failed: {cause}"),
        }
    }
}

/// Counters since the client was made, as [`Client::stats`](crate::Client::stats) reads them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections made.
    pub connections_opened: u64,
    /// Connections that ended other than by agreement.
    pub connections_lost: u64,
    /// Dials that failed.
    pub dials_failed: u64,
    /// Flows opened, TCP and UDP.
    pub flows_opened: u64,
    /// Flows that the proxy did not open.
    pub flows_refused: u64,
    /// Opens tried again on another connection.
    pub opens_retried: u64,
    /// Bytes received from the proxy, HTTP/2 frames included.
    pub bytes_received: u64,
    /// Bytes sent to the proxy, HTTP/2 frames included.
    pub bytes_sent: u64,
    /// Datagrams dropped because they waited too long, or too many waited.
    pub datagrams_dropped: u64,
    /// Flows reset because nobody read them while others had no room left.
    pub flows_given_up: u64,
    /// Bytes that the proxies may send just now without anybody reading them: the sum of the windows
    /// of all connections.
    pub window_bytes: u64,
}

impl std::iter::Sum for Stats {
    fn sum<I: Iterator<Item = Self>>(stats: I) -> Self {
        stats.fold(Self::default(), |a, b| Self {
            connections_opened: a.connections_opened + b.connections_opened,
            connections_lost: a.connections_lost + b.connections_lost,
            dials_failed: a.dials_failed + b.dials_failed,
            flows_opened: a.flows_opened + b.flows_opened,
            flows_refused: a.flows_refused + b.flows_refused,
            opens_retried: a.opens_retried + b.opens_retried,
            bytes_received: a.bytes_received + b.bytes_received,
            bytes_sent: a.bytes_sent + b.bytes_sent,
            datagrams_dropped: a.datagrams_dropped + b.datagrams_dropped,
            flows_given_up: a.flows_given_up + b.flows_given_up,
            window_bytes: a.window_bytes + b.window_bytes,
        })
    }
}

/// The same, counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections_opened: AtomicU64,
    pub(crate) connections_lost: AtomicU64,
    pub(crate) dials_failed: AtomicU64,
    pub(crate) flows_opened: AtomicU64,
    pub(crate) flows_refused: AtomicU64,
    pub(crate) opens_retried: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) datagrams_dropped: AtomicU64,
    pub(crate) flows_given_up: AtomicU64,
}

impl Counters {
    /// All of them, beside the windows, which others count.
    pub(crate) fn read(&self, window_bytes: u64) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            connections_opened: read(&self.connections_opened),
            connections_lost: read(&self.connections_lost),
            dials_failed: read(&self.dials_failed),
            flows_opened: read(&self.flows_opened),
            flows_refused: read(&self.flows_refused),
            opens_retried: read(&self.opens_retried),
            bytes_received: read(&self.bytes_received),
            bytes_sent: read(&self.bytes_sent),
            datagrams_dropped: read(&self.datagrams_dropped),
            flows_given_up: read(&self.flows_given_up),
            window_bytes,
        }
    }
}

/// Adds to a counter.
pub(crate) fn count(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}
