//! Builders: headers of ours beside payload that the caller holds.
//!
//! TCP and UDP leave their checksum [`Partial`](Checksum::Partial): the device completes it, or
//! [`Packet::segments`] where it cannot. ICMP comes complete.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use bytes::{BufMut, Bytes, BytesMut};

use crate::body::Body;
use crate::checksum::pseudo_header;
use crate::flow::{FlowKey, Protocol};
use crate::heads::Heads;
use crate::ip::Ecn;
use crate::packet::{Checksum, Kind, Layout, Packet, Transport};
use crate::scope::Scope;
use crate::seq::SeqNumber;
use crate::tcp::{self, Fields, TcpFlags};
use crate::tcp_options::TcpOptions;
use crate::{ip, ipv4, ipv6, udp};

pub use crate::icmp::echo_reply;

/// The largest total length of IPv4, and payload length of IPv6.
const MAX_LEN: usize = 65_535;

/// A TCP segment to be built.
///
/// ```
/// use bytes::Bytes;
/// use pseudotcp_packet::build::TcpSegment;
/// use pseudotcp_packet::{FlowKey, Protocol, SeqNumber, TcpFlags, TcpOptions};
///
/// let (us, app) = ("192.0.2.7:80".parse()?, "10.0.0.1:5000".parse()?);
/// let segment = TcpSegment {
///     flow: FlowKey::new(Protocol::Tcp, us, app),
///     seq: SeqNumber::new(1),
///     ack: Some(SeqNumber::new(100)),
///     flags: TcpFlags::PSH,
///     window: 65_535,
///     options: TcpOptions::default(),
///     segment_size: None,
/// };
/// let packet = segment.build(Bytes::from_static(b"hello"));
/// assert_eq!(packet.to_string(), "192.0.2.7:80 > 10.0.0.1:5000: tcp P. seq 1 ack 100 win 65535 len 5");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TcpSegment {
    /// The flow, seen from us: its source is the sender.
    pub flow: FlowKey,
    /// The sequence number of the first octet, or of the SYN.
    pub seq: SeqNumber,
    /// The acknowledgement number; its presence sets the ACK flag.
    pub ack: Option<SeqNumber>,
    /// The control bits besides ACK.
    pub flags: TcpFlags,
    /// The window as it goes on the wire, scaled by the caller.
    pub window: u16,
    /// The options.
    pub options: TcpOptions,
    /// Payload octets of each piece, where the packet is a super-segment.
    pub segment_size: Option<NonZeroU16>,
}

impl TcpSegment {
    /// Builds the packet. A payload beyond what one IP packet can hold (at least 65,435 octets
    /// whatever the options) is cut off there.
    pub fn build(&self, payload: impl Into<Body>) -> Packet {
        let head = BytesMut::with_capacity(self.ip_len() + self.header_len());
        self.assemble(head, payload.into(), Ecn::NotEct)
    }

    /// The same in room that heads share, with this congestion codepoint in the IP header
    /// (RFC 3168 §5).
    pub fn build_in(&self, heads: &mut Heads, payload: impl Into<Body>, ecn: Ecn) -> Packet {
        let head = heads.room(self.ip_len() + self.header_len());
        self.assemble(head, payload.into(), ecn)
    }

    fn ip_len(&self) -> usize {
        if self.flow.is_ipv6() { ipv6::HEADER_LEN } else { ipv4::HEADER_LEN }
    }

    fn header_len(&self) -> usize {
        tcp::HEADER_LEN + self.options.encoded_len()
    }

    fn assemble(&self, mut head: BytesMut, payload: Body, ecn: Ecn) -> Packet {
        let (source, destination) = (self.flow.source(), self.flow.destination());
        let (ip_len, header_len) = (self.ip_len(), self.header_len());
        let body = fitting(payload, MAX_LEN - ip_len - header_len);
        let len = header_len + body.octets();
        ip::put_header(&mut head, source.ip(), destination.ip(), Protocol::Tcp, len);
        if ecn != Ecn::NotEct {
            ip::set_ecn(&mut head, ecn);
        }
        let checksum = partial_checksum(source.ip(), destination.ip(), Protocol::Tcp, len);
        tcp::put_header(&mut head, &self.fields(checksum));
        let layout = Layout { ip_len, protocol: Protocol::Tcp, kind: Kind::Tcp };
        Packet::assemble(head.freeze(), body, layout, Checksum::Partial, self.segment_size)
    }

    fn fields(&self, checksum: u16) -> Fields<'_> {
        let ack = if self.ack.is_some() { TcpFlags::ACK } else { TcpFlags::empty() };
        Fields {
            source_port: self.flow.source().port(),
            destination_port: self.flow.destination().port(),
            seq: self.seq,
            ack: self.ack.unwrap_or_default(),
            flags: self.flags | ack,
            window: self.window,
            checksum,
            options: &self.options,
        }
    }
}

fn fitting(body: Body, max: usize) -> Body {
    debug_assert!(body.octets() <= max, "a segment larger than an IP packet");
    if body.octets() > max { body.slice(0..max) } else { body }
}

/// The RST that answers a segment for which there is no connection (RFC 9293 §3.10.7.1); `None` for
/// what is no segment, is an RST itself, or is not between two single hosts.
pub fn reset(packet: &Packet) -> Option<Packet> {
    let Transport::Tcp(tcp) = packet.transport() else { return None };
    let (flow, flags) = (packet.flow()?, tcp.flags());
    let single = |address: IpAddr| Scope::of(address).is_single_host();
    if flags.contains(TcpFlags::RST)
        || !(single(flow.source().ip()) && single(flow.destination().ip()))
    {
        return None;
    }
    // A segment with ACK says which number its sender believes; to another the RST must
    // acknowledge all that it occupies.
    let occupied = packet.payload_len()
        + usize::from(flags.contains(TcpFlags::SYN))
        + usize::from(flags.contains(TcpFlags::FIN));
    let (seq, ack) = if flags.contains(TcpFlags::ACK) {
        (tcp.ack(), None)
    } else {
        (SeqNumber::new(0), Some(tcp.seq().advance(u32::try_from(occupied).ok()?)))
    };
    let segment = TcpSegment {
        flow: flow.reversed(),
        seq,
        ack,
        flags: TcpFlags::RST,
        window: 0,
        options: TcpOptions::default(),
        segment_size: None,
    };
    Some(segment.build(Body::default()))
}

/// A UDP datagram, or with a segment size as many as its payload has pieces. `None` where the
/// addresses are of two IP versions, or the payload is more than one IP packet can hold (65,507
/// octets in IPv4, 65,527 in IPv6): a datagram travels whole or not at all.
pub fn datagram(
    source: SocketAddr,
    destination: SocketAddr,
    payload: Bytes,
    segment_size: Option<NonZeroU16>,
) -> Option<Packet> {
    put_datagram(source, destination, payload.into(), segment_size)
}

/// UDP datagrams of `segment_size` octets each, the last one perhaps shorter, in one packet that a
/// device takes apart. `None` as for [`datagram`].
pub fn super_datagram(
    source: SocketAddr,
    destination: SocketAddr,
    payload: Body,
    segment_size: NonZeroU16,
) -> Option<Packet> {
    put_datagram(source, destination, payload, Some(segment_size))
}

fn put_datagram(
    source: SocketAddr,
    destination: SocketAddr,
    payload: Body,
    segment_size: Option<NonZeroU16>,
) -> Option<Packet> {
    let len = udp::HEADER_LEN + payload.octets();
    let (ip_len, max) = if source.is_ipv6() {
        (ipv6::HEADER_LEN, MAX_LEN)
    } else {
        (ipv4::HEADER_LEN, MAX_LEN - ipv4::HEADER_LEN)
    };
    if source.is_ipv6() != destination.is_ipv6() || len > max {
        return None;
    }
    let mut head = BytesMut::with_capacity(ip_len + udp::HEADER_LEN);
    ip::put_header(&mut head, source.ip(), destination.ip(), Protocol::Udp, len);
    head.put_u16(source.port());
    head.put_u16(destination.port());
    head.put_u16(u16::try_from(len).ok()?);
    head.put_u16(partial_checksum(source.ip(), destination.ip(), Protocol::Udp, len));
    let layout = Layout { ip_len, protocol: Protocol::Udp, kind: Kind::Udp };
    Some(Packet::assemble(head.freeze(), payload, layout, Checksum::Partial, segment_size))
}

fn partial_checksum(source: IpAddr, destination: IpAddr, protocol: Protocol, len: usize) -> u16 {
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    pseudo_header(source, destination, protocol.number(), len).folded()
}
