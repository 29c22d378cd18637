use std::net::IpAddr;

use bytes::{BufMut, Bytes, BytesMut};
use pnet_packet::icmp::IcmpPacket;

use crate::body::Body;
use crate::checksum::Sum;
use crate::flow::Protocol;
use crate::ip::{Ip, Version};
use crate::packet::{Checksum, Kind, Layout, Packet, Transport};
use crate::{ParseError, ip, ipv4, ipv6};

/// Octets of type, code, checksum and the four that depend on the type.
pub(crate) const HEADER_LEN: usize = 8;

/// RFC 1812 §4.3.2.3: the whole error should not be longer than this.
const MAX_ERROR_V4: usize = 576;

/// RFC 4443 §2.4 (c): nor this one, the smallest MTU of IPv6.
const MAX_ERROR_V6: usize = 1_280;

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
const REDIRECT_V6: u8 = 137;

/// A validated ICMP or `ICMPv6` header.
#[derive(Clone, Copy, Debug)]
pub struct IcmpHeader<'a>(pub(crate) &'a [u8]);

impl<'a> IcmpHeader<'a> {
    /// The type.
    pub fn kind(&self) -> u8 {
        self.field(|icmp| icmp.get_icmp_type().0)
    }

    /// The code.
    pub fn code(&self) -> u8 {
        self.field(|icmp| icmp.get_icmp_code().0)
    }

    /// The four octets whose meaning depends on the type: for echo identifier and sequence
    /// number, for too-big errors the MTU.
    pub fn rest(&self) -> u32 {
        self.0
            .get(4..8)
            .and_then(|rest| rest.as_array())
            .map_or(0, |rest| u32::from_be_bytes(*rest))
    }

    /// Reads through the view; the default is never seen, as measuring comes first.
    fn field<T: Default>(&self, read: impl FnOnce(&IcmpPacket<'a>) -> T) -> T {
        IcmpPacket::new(self.0).map(|icmp| read(&icmp)).unwrap_or_default()
    }
}

/// Validates a message and returns the length of its header.
pub(crate) fn measure(payload: &[u8]) -> Result<usize, ParseError> {
    if payload.len() < HEADER_LEN { Err(ParseError::TransportLength) } else { Ok(HEADER_LEN) }
}

/// The reply to an echo request (RFC 1122 §3.2.2.6, RFC 4443 §4.2); `None` for anything else, and
/// for requests whose addresses are not those of two single hosts.
pub fn echo_reply(request: &Packet) -> Option<Packet> {
    let (reply, rest) = match request.transport() {
        Transport::Icmp(icmp) if icmp.kind() == ECHO_REQUEST => (ECHO_REPLY, icmp.rest()),
        Transport::Icmpv6(icmp) if icmp.kind() == ECHO_REQUEST_V6 => (ECHO_REPLY_V6, icmp.rest()),
        _ => return None,
    };
    let (asker, asked) = (request.ip().source(), request.ip().destination());
    let message = Message { kind: reply, code: 0, rest };
    (is_single_host(asker) && is_single_host(asked))
        .then(|| message.build(asked, asker, request.slices().clone()))
}

/// Why a destination cannot be reached (RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1, RFC 4443
/// §3.1): type and code in IPv4, in IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unreachable {
    /// There is no route: 3/0, 1/0.
    Network,
    /// The host does not answer: 3/1, 1/3.
    Host,
    /// The protocol is not spoken there: 3/2, 4/1.
    Protocol,
    /// Nobody listens on the port: 3/3, 1/4.
    Port,
    /// Traffic to this host is prohibited: 3/10, 1/1.
    HostProhibited,
    /// Traffic is filtered: 3/13, 1/1.
    Prohibited,
}

impl Unreachable {
    fn v4(self) -> (u8, u8) {
        match self {
            Self::Network => (3, 0),
            Self::Host => (3, 1),
            Self::Protocol => (3, 2),
            Self::Port => (3, 3),
            Self::HostProhibited => (3, 10),
            Self::Prohibited => (3, 13),
        }
    }

    fn v6(self) -> (u8, u8) {
        match self {
            Self::Network => (1, 0),
            Self::Host => (1, 3),
            Self::Protocol => (4, 1),
            Self::Port => (1, 4),
            Self::HostProhibited | Self::Prohibited => (1, 1),
        }
    }
}

/// What is wrong with the header of a packet (RFC 792, RFC 4443 §3.4, RFC 7112 §6). Positions are
/// octets from the start of the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParameterProblem {
    /// A header field has an impossible value: 12/0, 4/0.
    Field {
        /// Where the field stands.
        at: u32,
    },
    /// An IPv6 option is not understood, and must not be passed over: 4/2.
    Option {
        /// Where the option's type stands.
        at: u32,
    },
    /// An IPv6 first fragment does not hold all headers: 4/3.
    HeaderChain,
}

/// A copy of what an ICMP error may quote of a packet: its IP header, whole whatever options it
/// has, and as much of the rest as an error may carry.
#[derive(Clone, Debug)]
pub struct Quote {
    source: IpAddr,
    destination: IpAddr,
    /// Where the IP header names the upper-layer protocol.
    protocol_at: u32,
    octets: Bytes,
}

impl Quote {
    /// Quotes a packet; `None` where no error must be sent in answer: to ICMP errors, to fragments
    /// other than the first, and where source or destination is not a single host (RFC 1122
    /// §3.2.2, RFC 4443 §2.4 (e)).
    pub fn of(packet: &Packet) -> Option<Self> {
        let ip = packet.ip();
        let (source, destination) = (ip.source(), ip.destination());
        let answerable = is_single_host(source)
            && !source.is_loopback()
            && is_single_host(destination)
            && !is_error_or_later_fragment(packet);
        answerable.then(|| Self {
            source,
            destination,
            protocol_at: protocol_at(packet, ip.version()),
            octets: quoted(packet, &ip),
        })
    }

    /// The error that tells the packet's source that its destination cannot be reached, in the
    /// name of that destination.
    pub fn unreachable(&self, cause: Unreachable) -> Packet {
        let ((kind, code), rest) = match (self.source.is_ipv6(), cause) {
            (false, _) => (cause.v4(), 0),
            // RFC 4443 §3.4: the pointer finds the next header field that is not understood.
            (true, Unreachable::Protocol) => (cause.v6(), self.protocol_at),
            (true, _) => (cause.v6(), 0),
        };
        self.answer(Message { kind, code, rest })
    }

    /// The error that tells the packet's source to send at most `mtu` octets at a time (RFC 1191
    /// §4, RFC 4443 §3.2).
    pub fn too_big(&self, mtu: u32) -> Packet {
        if self.source.is_ipv6() {
            self.answer(Message { kind: 2, code: 0, rest: mtu })
        } else {
            self.answer(Message { kind: 3, code: 4, rest: mtu.min(u32::from(u16::MAX)) })
        }
    }

    /// The error that tells the packet's source that its other fragments did not come in time
    /// (RFC 792 11/1, RFC 4443 §3.3 3/1).
    pub fn reassembly_timed_out(&self) -> Packet {
        let kind = if self.source.is_ipv6() { 3 } else { 11 };
        self.answer(Message { kind, code: 1, rest: 0 })
    }

    /// The error that tells the packet's source which octet of it cannot be right (RFC 792 12/0,
    /// RFC 4443 §3.4 4 with a code).
    pub fn parameter_problem(&self, problem: ParameterProblem) -> Packet {
        let (code, pointer) = match problem {
            ParameterProblem::Field { at } => (0, at),
            ParameterProblem::Option { at } => (2, at),
            ParameterProblem::HeaderChain => (3, 0),
        };
        if self.source.is_ipv6() {
            self.answer(Message { kind: 4, code, rest: pointer })
        } else {
            self.answer(Message { kind: 12, code: 0, rest: pointer << 24 })
        }
    }

    fn answer(&self, message: Message) -> Packet {
        message.build(self.destination, self.source, self.octets.clone().into())
    }
}

/// The octets of a packet that fit an error message, copied.
fn quoted(packet: &Packet, ip: &Ip<'_>) -> Bytes {
    let room = if ip.source().is_ipv6() {
        MAX_ERROR_V6 - ipv6::HEADER_LEN - HEADER_LEN
    } else {
        MAX_ERROR_V4 - ipv4::HEADER_LEN - HEADER_LEN
    };
    let mut octets = BytesMut::with_capacity(packet.total_len().min(room));
    for slice in std::iter::once(packet.head()).chain(packet.body()) {
        let len = slice.len().min(room - octets.len());
        octets.put_slice(slice.get(..len).unwrap_or_default());
    }
    octets.freeze()
}

/// The pointer of RFC 4443 §3.4; IPv4 has another error for that, without one.
fn protocol_at(packet: &Packet, version: Version) -> u32 {
    match version {
        Version::V4 => 0,
        Version::V6 => ipv6::walk(packet.head())
            .ok()
            .and_then(|walk| u32::try_from(walk.named_at).ok())
            .unwrap_or_default(),
    }
}

fn is_error_or_later_fragment(packet: &Packet) -> bool {
    match packet.transport() {
        // RFC 792 and RFC 950: these types ask or answer; all others report or are unknown.
        Transport::Icmp(icmp) => !matches!(icmp.kind(), 0 | 8..=10 | 13..=18),
        Transport::Icmpv6(icmp) => icmp.kind() < 128 || icmp.kind() == REDIRECT_V6,
        Transport::Fragment(fragment) => !fragment.is_first(),
        Transport::Tcp(_) | Transport::Udp(_) | Transport::Other => false,
    }
}

/// Neither unspecified nor broadcast nor multicast nor reserved (RFC 1122 §3.2.1.3).
fn is_single_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets() < [224, 0, 0, 0] && v4.octets() >= [1, 0, 0, 0],
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast(),
    }
}

/// The header of a message that we send.
#[derive(Clone, Copy)]
struct Message {
    kind: u8,
    code: u8,
    rest: u32,
}

impl Message {
    fn build(self, source: IpAddr, destination: IpAddr, body: Body) -> Packet {
        let len = HEADER_LEN + body.octets();
        let (protocol, kind, ip_len) = if source.is_ipv6() {
            (Protocol::Icmpv6, Kind::Icmpv6, ipv6::HEADER_LEN)
        } else {
            (Protocol::Icmp, Kind::Icmp, ipv4::HEADER_LEN)
        };
        let mut head = BytesMut::with_capacity(ip_len + HEADER_LEN);
        ip::put_header(&mut head, source, destination, protocol, len);
        let covered = kind.covered(&Ip::new(&head, ip_len, protocol), len);
        let sum = body.iter().fold(covered.with(&self.octets(0)), |sum: Sum, s| sum.with(s));
        head.put_slice(&self.octets(sum.checksum()));
        let layout = Layout { ip_len, protocol, kind };
        Packet::assemble(head.freeze(), body, layout, Checksum::Complete, None)
    }

    fn octets(self, checksum: u16) -> [u8; HEADER_LEN] {
        let ([c0, c1], [r0, r1, r2, r3]) = (checksum.to_be_bytes(), self.rest.to_be_bytes());
        [self.kind, self.code, c0, c1, r0, r1, r2, r3]
    }
}
