//! What came, in the notation of scripts, and how it differs from what was expected.

use std::fmt::Write as _;

use pseudotcp_packet::{Ecn, Packet, TcpFlags, TcpHeader, TcpOptions, Transport};

use super::connection::Connection;
use super::notation::{Field, Icmp, Segment};
use super::options::{OptionNotation, Options};

/// A packet to the app, as a script would write it.
pub(super) fn tell(connection: &Connection, packet: &Packet) -> String {
    let Transport::Tcp(tcp) = packet.transport() else { return packet.to_string() };
    if packet.flow().map(|flow| flow.reversed()) != Some(connection.flow) {
        return packet.to_string();
    }
    let start = connection.tell_ours(tcp.seq());
    let len = packet.payload_len();
    let end = start + i64::try_from(len).unwrap_or(0);
    let mut text = format!("> {} {start}:{end}({len})", tcp.flags());
    if tcp.flags().contains(TcpFlags::ACK) {
        write!(text, " ack {}", connection.tell_app(tcp.ack())).ok();
    }
    write!(text, " win {}", tcp.window()).ok();
    if tcp.flags().contains(TcpFlags::URG) {
        write!(text, " urg {}", tcp.urgent_pointer()).ok();
    }
    if let Some(size) = packet.segment_size() {
        write!(text, " by {size}").ok();
    }
    text + &tell_options(connection, &tcp.options())
}

fn tell_options(connection: &Connection, options: &TcpOptions) -> String {
    let mut told = Vec::new();
    told.extend(options.mss.map(|mss| format!("mss {mss}")));
    told.extend(options.sack_permitted.then(|| "sackOK".to_owned()));
    if let Some(ts) = options.timestamps {
        told.push(format!("TS val {} ecr {}", connection.tell_timestamp(ts.value), ts.echo));
    }
    told.extend(options.window_scale.map(|shift| format!("wscale {shift}")));
    if !options.sack.is_empty() {
        let block =
            |(start, end)| format!(" {}:{}", connection.tell_app(start), connection.tell_app(end));
        told.push(format!("sack{}", options.sack.iter().map(block).collect::<String>()));
    }
    if told.is_empty() { String::new() } else { format!(" <{}>", told.join(",")) }
}

/// The first part in which a packet differs from an expected segment.
pub(super) fn difference(
    connection: &mut Connection,
    expected: &Segment,
    packet: &Packet,
) -> Option<&'static str> {
    let Transport::Tcp(tcp) = packet.transport() else { return Some("no TCP segment") };
    if packet.flow().map(|flow| flow.reversed()) != Some(connection.flow) {
        return Some("another flow");
    }
    let checks = [
        (tcp.flags() == expected.flags, "the flags"),
        (has_range(connection, expected, packet, &tcp), "the numbers"),
        (has_ack(connection, expected, &tcp), "the acknowledgement"),
        (has_window(expected, &tcp), "the window"),
        (expected.urgent.is_none_or(|urgent| tcp.urgent_pointer() == urgent), "the urgent pointer"),
        (packet.segment_size().map(u16::from) == expected.by, "the size of the pieces"),
        (expected.ecn.is_none_or(|ecn| ecn == codepoint(packet)), "the ECN field"),
        (has_options(connection, expected, &tcp.options()), "the options"),
        (connection.carries_our_bytes(packet), "the payload's bytes"),
        (is_valid(packet), "not valid on the wire"),
    ];
    checks.into_iter().find(|(holds, _)| !holds).map(|(_, part)| part)
}

/// The first part in which a packet differs from an expected ICMP error about the app's SYN.
pub(super) fn icmp_difference(
    connection: &Connection,
    expected: Icmp,
    packet: &Packet,
) -> Option<&'static str> {
    let (Transport::Icmp(icmp) | Transport::Icmpv6(icmp)) = packet.transport() else {
        return Some("no ICMP error");
    };
    let (app, server) = (connection.flow.source(), connection.flow.destination());
    let quote = packet.body().concat();
    let header = if app.is_ipv6() { 40 } else { 20 };
    let ports = [app.port().to_be_bytes(), server.port().to_be_bytes()].concat();
    let checks = [
        ((icmp.kind(), icmp.code()) == (expected.kind, expected.code), "type or code"),
        (expected.mtu.is_none_or(|mtu| icmp.rest() == u32::from(mtu)), "the MTU"),
        (packet.ip().source() == server.ip(), "the source"),
        (packet.ip().destination() == app.ip(), "the destination"),
        (quote.get(header..header + 4) == Some(&ports[..]), "what is quoted"),
        (is_valid(packet), "not valid on the wire"),
    ];
    checks.into_iter().find(|(holds, _)| !holds).map(|(_, part)| part)
}

fn has_range(
    connection: &Connection,
    expected: &Segment,
    packet: &Packet,
    tcp: &TcpHeader<'_>,
) -> bool {
    expected.range.is_none_or(|range| {
        let starts = tcp.seq() == connection.our_number(range.start);
        starts && u32::try_from(packet.payload_len()) == Ok(range.len)
    })
}

fn has_ack(connection: &Connection, expected: &Segment, tcp: &TcpHeader<'_>) -> bool {
    match expected.ack {
        Field::Absent => !tcp.flags().contains(TcpFlags::ACK),
        Field::Any => true,
        Field::Is(ack) => tcp.ack() == connection.app_number(ack),
    }
}

fn has_window(expected: &Segment, tcp: &TcpHeader<'_>) -> bool {
    match expected.window {
        Field::Absent | Field::Any => true,
        Field::Is(window) => tcp.window() == window,
    }
}

/// Options have no order and no padding here.
fn has_options(connection: &mut Connection, expected: &Segment, options: &TcpOptions) -> bool {
    if expected.options == Options::Any {
        return true;
    }
    let mut rest = *options;
    let each = expected.options.iter().all(|option| take(connection, option, &mut rest));
    each && rest == TcpOptions::default()
}

/// Takes an expected option out of those that came; whether it was there.
fn take(connection: &mut Connection, option: &OptionNotation, rest: &mut TcpOptions) -> bool {
    match option {
        OptionNotation::End | OptionNotation::NoOperation => true,
        OptionNotation::Raw(_) => false,
        OptionNotation::Mss(mss) => rest.mss.take() == Some(*mss),
        OptionNotation::WindowScale(shift) => {
            rest.window_scale.take().is_some_and(|scale| shift.is_none_or(|shift| shift == scale))
        }
        OptionNotation::SackPermitted => std::mem::take(&mut rest.sack_permitted),
        OptionNotation::Sack(blocks) => {
            let number = |n: u32| connection.app_number(n);
            let wanted = blocks.iter().map(|&(start, end)| (number(start), number(end)));
            std::mem::take(&mut rest.sack).iter().eq(wanted)
        }
        OptionNotation::Timestamps { value, echo } => rest.timestamps.take().is_some_and(|ts| {
            echo.is_none_or(|echo| echo == ts.echo)
                && value.is_none_or(|value| connection.matches_timestamp(ts.value, value))
        }),
    }
}

fn codepoint(packet: &Packet) -> u8 {
    match packet.ip().ecn() {
        Ecn::NotEct => 0,
        Ecn::Ect1 => 1,
        Ecn::Ect0 => 2,
        Ecn::Ce => 3,
    }
}

/// Lengths and checksums, once the device has cut the packet.
fn is_valid(packet: &Packet) -> bool {
    packet.segments().all(|piece| Packet::parse(piece.to_bytes()).is_ok())
}
