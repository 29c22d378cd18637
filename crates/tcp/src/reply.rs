use std::net::IpAddr;

use pseudotcp_packet::build::TcpSegment;
use pseudotcp_packet::{Body, FlowKey, Packet, SeqNumber, TcpFlags, TcpOptions};

use crate::segment::Segment;

/// The RST that answers a segment for which there is no connection.
///
/// RFC 9293 §3.10.7.1: none in answer to RST. With ACK its number becomes ours; without, zero, and
/// the segment is acknowledged, or the host would ignore the RST.
pub(crate) fn reset(segment: &Segment<'_>) -> Option<Packet> {
    if segment.has(TcpFlags::RST) || !is_between_hosts(&segment.flow) {
        return None;
    }
    let options = TcpOptions::default();
    Some(match segment.ack {
        Some(ack) => bare_reset(&segment.flow, ack, None, options),
        None => bare_reset(&segment.flow, SeqNumber::new(0), Some(segment.end()), options),
    })
}

/// An RST to the source of `flow`.
pub(crate) fn bare_reset(
    flow: &FlowKey,
    seq: SeqNumber,
    ack: Option<SeqNumber>,
    options: TcpOptions,
) -> Packet {
    TcpSegment {
        flow: flow.reversed(),
        seq,
        ack,
        flags: TcpFlags::RST,
        window: 0,
        options,
        segment_size: None,
    }
    .build(Body::default())
}

/// RFC 9293 §3.9.2.3, MUST-57: TCP only speaks with single hosts.
pub(crate) fn is_between_hosts(flow: &FlowKey) -> bool {
    let single = |address: IpAddr| {
        let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
        !(address.is_multicast() || address.is_unspecified() || broadcast)
    };
    single(flow.source().ip()) && single(flow.destination().ip())
}
