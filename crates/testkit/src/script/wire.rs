//! From the notation to packets on the wire, by smoltcp's hand: not by the code that is tested.

use std::net::IpAddr;
use std::num::NonZeroU16;

use pseudotcp_packet::{Checksum, Packet, TcpFlags};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv6Packet, IpAddress, IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet, TcpPacket,
    TcpSeqNumber,
};

use super::connection::Connection;
use super::notation::{Field, Icmp, Range, Segment};
use super::options::OptionNotation;

const HEADER_LEN: usize = 20;
/// The window of a segment whose notation names none.
const WINDOW: u16 = u16::MAX;
const HOP_LIMIT: u8 = 64;

/// The packet that the app sends.
pub(super) fn segment(connection: &Connection, segment: &Segment) -> Result<Packet, String> {
    let range = segment.range.ok_or("what is sent needs numbers")?;
    let syn = segment.flags.contains(TcpFlags::SYN);
    let payload = connection.app_bytes(range.start, syn, range.len);
    let options = encode(connection, segment)?;
    let mut octets = vec![0; HEADER_LEN + options.len() + payload.len()];
    let (source, destination) = (connection.flow.source(), connection.flow.destination());
    let mut tcp = TcpPacket::new_unchecked(&mut octets);
    tcp.set_src_port(source.port());
    tcp.set_dst_port(destination.port());
    tcp.set_seq_number(TcpSeqNumber(connection.app_number(range.start).to_u32().cast_signed()));
    if let Field::Is(ack) = segment.ack {
        tcp.set_ack_number(TcpSeqNumber(connection.our_number(ack).to_u32().cast_signed()));
    }
    tcp.set_header_len(u8::try_from(HEADER_LEN + options.len()).map_err(|_| "too many options")?);
    set_flags(&mut tcp, segment.flags);
    tcp.set_window_len(if let Field::Is(window) = segment.window { window } else { WINDOW });
    tcp.set_urgent_at(segment.urgent.unwrap_or(0));
    tcp.options_mut()[..options.len()].copy_from_slice(&options);
    tcp.payload_mut().copy_from_slice(&payload);
    tcp.fill_checksum(&source.ip().into(), &destination.ip().into());
    let by = segment.by.and_then(NonZeroU16::new);
    parse(ip(source.ip(), destination.ip(), IpProtocol::Tcp, segment.ecn, &octets), by)
}

/// The ICMP error that something on the way sends about a segment of ours.
pub(super) fn icmp(connection: &Connection, error: Icmp) -> Result<Packet, String> {
    let (app, server) = (connection.flow.source(), connection.flow.destination());
    let quoted = error.quoted.ok_or("an ICMP error needs [seq:end(len)] of what it quotes")?;
    let quote = quote(connection, quoted);
    let [high, low] = error.mtu.unwrap_or(0).to_be_bytes();
    let mut octets = vec![error.kind, error.code, 0, 0, 0, 0, high, low];
    octets.extend_from_slice(&quote);
    let addresses = (app.ip(), server.ip());
    let protocol = if let (IpAddr::V6(source), IpAddr::V6(destination)) = addresses {
        Icmpv6Packet::new_unchecked(&mut octets).fill_checksum(&source, &destination);
        IpProtocol::Icmpv6
    } else {
        Icmpv4Packet::new_unchecked(&mut octets).fill_checksum();
        IpProtocol::Icmp
    };
    parse(ip(app.ip(), server.ip(), protocol, None, &octets), None)
}

/// The IP header of a segment of ours, and the first eight octets of its TCP header.
fn quote(connection: &Connection, range: Range) -> Vec<u8> {
    let (app, server) = (connection.flow.source(), connection.flow.destination());
    let len = HEADER_LEN + usize::try_from(range.len).unwrap_or(0);
    let mut tcp = vec![0; len];
    tcp[0..2].copy_from_slice(&server.port().to_be_bytes());
    tcp[2..4].copy_from_slice(&app.port().to_be_bytes());
    tcp[4..8].copy_from_slice(&connection.our_number(range.start).to_u32().to_be_bytes());
    let mut whole = ip(server.ip(), app.ip(), IpProtocol::Tcp, None, &tcp);
    whole.truncate(whole.len() - len + 8);
    whole
}

fn parse(octets: Vec<u8>, by: Option<NonZeroU16>) -> Result<Packet, String> {
    let checksum = if by.is_some() { Checksum::Vouched } else { Checksum::Complete };
    Packet::parse_offloaded(octets.into(), checksum, by)
        .map_err(|error| format!("that is no packet: {error}"))
}

/// A packet with such a payload.
fn ip(
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    ecn: Option<u8>,
    payload: &[u8],
) -> Vec<u8> {
    let (src, dst): (IpAddress, IpAddress) = (source.into(), destination.into());
    let repr = IpRepr::new(src, dst, protocol, payload.len(), HOP_LIMIT);
    let mut octets = vec![0; repr.header_len()];
    repr.emit(&mut octets, &ChecksumCapabilities::default());
    let ecn = ecn.unwrap_or(0);
    if source.is_ipv6() {
        Ipv6Packet::new_unchecked(&mut octets).set_traffic_class(ecn);
    } else {
        let mut header = Ipv4Packet::new_unchecked(&mut octets);
        header.set_ecn(ecn);
        header.fill_checksum();
    }
    octets.extend_from_slice(payload);
    octets
}

fn set_flags(tcp: &mut TcpPacket<&mut Vec<u8>>, flags: TcpFlags) {
    tcp.set_fin(flags.contains(TcpFlags::FIN));
    tcp.set_syn(flags.contains(TcpFlags::SYN));
    tcp.set_rst(flags.contains(TcpFlags::RST));
    tcp.set_psh(flags.contains(TcpFlags::PSH));
    tcp.set_ack(flags.contains(TcpFlags::ACK));
    tcp.set_urg(flags.contains(TcpFlags::URG));
    tcp.set_ece(flags.contains(TcpFlags::ECE));
    tcp.set_cwr(flags.contains(TcpFlags::CWR));
}

/// The options' octets, padded to whole words.
fn encode(connection: &Connection, segment: &Segment) -> Result<Vec<u8>, String> {
    let mut octets = Vec::new();
    for option in segment.options.iter() {
        encode_one(connection, option, &mut octets)?;
    }
    octets.resize(octets.len().next_multiple_of(4), 0);
    if octets.len() > 40 { Err("the options take more than 40 octets".into()) } else { Ok(octets) }
}

fn encode_one(
    connection: &Connection,
    option: &OptionNotation,
    octets: &mut Vec<u8>,
) -> Result<(), String> {
    match option {
        OptionNotation::End => octets.push(0),
        OptionNotation::NoOperation => octets.push(1),
        OptionNotation::Mss(mss) => {
            octets.extend([2, 4]);
            octets.extend(mss.to_be_bytes());
        }
        OptionNotation::WindowScale(Some(shift)) => octets.extend([3, 3, *shift]),
        OptionNotation::SackPermitted => octets.extend([4, 2]),
        OptionNotation::Sack(blocks) => {
            octets.push(5);
            octets.push(u8::try_from(2 + 8 * blocks.len()).map_err(|_| "too many blocks")?);
            for (start, end) in blocks {
                octets.extend(connection.our_number(*start).to_u32().to_be_bytes());
                octets.extend(connection.our_number(*end).to_u32().to_be_bytes());
            }
        }
        OptionNotation::Timestamps { value: Some(value), echo: Some(echo) } => {
            octets.extend([8, 10]);
            octets.extend(value.to_be_bytes());
            octets.extend(connection.echo_on_wire(*echo).to_be_bytes());
        }
        OptionNotation::Timestamps { .. } | OptionNotation::WindowScale(None) => {
            return Err("what is sent needs values".into());
        }
        OptionNotation::Raw(raw) => octets.extend(raw),
    }
    Ok(())
}
