use pseudotcp_packet::FlowKey;

use crate::{FlowId, State};

/// What an engine has counted since it was made; nothing is ever reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// TCP segments handled.
    pub segments_in: u64,
    /// Segments emitted, ICMP errors and stateless answers included.
    pub segments_out: u64,
    /// Payload bytes taken in order from apps.
    pub bytes_in: u64,
    /// Payload bytes emitted towards apps for the first time.
    pub bytes_out: u64,
    /// Segments emitted again after a loss.
    pub retransmissions: u64,
    /// Duplicates that apps report: of what was sent again in vain, or doubled by the network.
    pub needless_retransmissions: u64,
    /// Retransmission timers that fired.
    pub timeouts: u64,
    /// Losses repaired without waiting for a timer.
    pub fast_retransmits: u64,
    /// Tail loss probes emitted (RFC 8985 §7).
    pub tail_probes: u64,
    /// Zero-window probes emitted.
    pub probes: u64,
    /// Segments that brought nothing but bytes that were there already.
    pub duplicates: u64,
    /// Segments that arrived ahead of a gap.
    pub out_of_order: u64,
    /// RST segments emitted.
    pub resets_out: u64,
    /// Acceptable RST segments received.
    pub resets_in: u64,
    /// Challenge ACKs emitted (RFC 5961).
    pub challenge_acks: u64,
    /// Segments whose timestamp was too old (RFC 7323 §5).
    pub paws_rejected: u64,
    /// Segments that arrived marked by congestion (RFC 3168).
    pub marks_in: u64,
    /// Reports of such marks that made a flow slow down.
    pub marks_reported: u64,
    /// Flows that send smaller segments since an ICMP error said what fits.
    pub path_mtu_reductions: u64,
    /// Flows that reached the opening state.
    pub opening: u64,
    /// Flows whose handshake was completed.
    pub opened: u64,
    /// Flows that ended after their handshake.
    pub closed: u64,
    /// Flows refused.
    pub refused: u64,
    /// Openings that the app gave up.
    pub cancelled: u64,
    /// SYNs dropped because too many flows were opening.
    pub backlog_overflows: u64,
    /// Idle flows that made room for new ones.
    pub evicted: u64,
    /// SYNs dropped because the flow table was full, and no flow idle.
    pub table_overflows: u64,
    /// Flows that timed out.
    pub timed_out: u64,
    /// Connections that went through TIME-WAIT.
    pub time_waits: u64,
    /// Payload bytes dropped for want of room; their sender sends them again.
    pub bytes_dropped: u64,
    /// Segments dropped without an answer: no TCP, no acceptable field, or an answer too many.
    pub dropped: u64,
}

/// One line of the flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlowInfo {
    /// The flow's id.
    pub id: FlowId,
    /// Its five-tuple; the source is the app.
    pub flow: FlowKey,
    /// Its state.
    pub state: State,
    /// Payload bytes received in order from the app.
    pub bytes_in: u64,
    /// Payload bytes sent to the app, each counted once.
    pub bytes_out: u64,
    /// Bytes received and not yet read, those behind a gap included.
    pub unread: usize,
    /// Bytes written and not yet acknowledged.
    pub unacknowledged: usize,
}
