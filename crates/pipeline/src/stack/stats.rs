/// What a [`Stack`](super::Stack) has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The TCP engine's counters.
    pub tcp: pseudotcp_tcp::Stats,
    /// The UDP demux's counters.
    pub udp: pseudotcp_udp::Stats,
    /// Opens that the transport refused, for whatever cause.
    pub opens_failed: u64,
    /// Payload bytes that went into TCP tunnels.
    pub tcp_bytes_up: u64,
    /// Payload bytes that came out of TCP tunnels.
    pub tcp_bytes_down: u64,
    /// Datagrams that a tunnel did not take: its queue was full, or they were too large for it.
    pub datagrams_not_taken: u64,
    /// Packets that are no flow's and no ping: of other protocols, with headers that cannot be
    /// processed, fragments.
    pub other_packets: u64,
    /// Packets from or to addresses that no flow can have: multicast, broadcast, loopback, the link's
    /// own, nobody's.
    pub unroutable: u64,
    /// ICMP errors about packets that were sent to apps.
    pub icmp_errors_in: u64,
    /// Echo requests that were answered by a reply.
    pub pings_answered: u64,
    /// Replies and errors dropped because too many waited to be taken.
    pub answers_dropped: u64,
    /// ICMP errors not sent because their app's address had too many already.
    pub icmp_limited: u64,
}
