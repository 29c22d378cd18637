/// Counters since the demux was made. All of them only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Flows announced by [`Event::Opening`](crate::Event::Opening).
    pub flows_opened: u64,
    /// Flows that the owner refused.
    pub flows_refused: u64,
    /// Flows that the owner closed.
    pub flows_closed: u64,
    /// Flows that ended because the app's side reported that nobody listens.
    pub flows_unwanted: u64,
    /// Flows that ended without traffic for their idle timeout.
    pub flows_expired: u64,
    /// Flows that made room for newer ones.
    pub flows_evicted: u64,

    /// Datagrams from apps, super-datagrams counted apart.
    pub datagrams_in: u64,
    /// Their payload in bytes.
    pub bytes_in: u64,
    /// Datagrams sent to apps.
    pub datagrams_out: u64,
    /// Their payload in bytes.
    pub bytes_out: u64,
    /// ICMP errors sent to apps because a destination cannot be reached.
    pub unreachables_out: u64,
    /// ICMP errors sent to apps because a datagram is too big for its tunnel.
    pub too_bigs_out: u64,

    /// Packets that are no unfragmented UDP datagrams.
    pub ignored: u64,
    /// Datagrams that came within a remembered refusal.
    pub refused_again: u64,
    /// First datagrams dropped because too many flows were opening.
    pub dropped_flows: u64,
    /// Datagrams dropped because their flow's opening buffer was full.
    pub dropped_opening: u64,
    /// Datagrams dropped because their accepted flow's queue was full.
    pub dropped_queue: u64,
    /// Datagrams dropped because all flows together held too many bytes.
    pub dropped_memory: u64,
    /// Datagrams that nobody had read when their flow ended.
    pub dropped_unread: u64,
    /// Replies larger than the device's MTU, where they are not to be cut.
    pub dropped_too_big: u64,
    /// Packets dropped because too many waited to be transmitted.
    pub dropped_transmit: u64,
}
