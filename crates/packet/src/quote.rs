//! ICMP errors that we send, and what they quote.

use std::net::IpAddr;

use bytes::{BufMut, Bytes, BytesMut};

use crate::flow::Protocol;
use crate::icmp::{HEADER_LEN, Message};
use crate::ip::{Ip, Version};
use crate::packet::{Packet, Transport};
use crate::scope::Scope;
use crate::{ip, ipv4, ipv6, udp};

/// RFC 1812 §4.3.2.3: the whole error should not be longer than this.
const MAX_ERROR_V4: usize = 576;

/// RFC 4443 §2.4 (c): nor this one, the smallest MTU of IPv6.
const MAX_ERROR_V6: usize = 1_280;

const REDIRECT_V6: u8 = 137;

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
        let answerable = is_answerable(source)
            && Scope::of(destination).is_single_host()
            && !is_error_or_later_fragment(packet);
        answerable.then(|| Self {
            source,
            destination,
            protocol_at: protocol_at(packet, ip.version()),
            octets: quoted(source, std::iter::once(packet.head()).chain(packet.body())),
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

/// The octets of a packet from `source` that fit an error message, copied.
fn quoted<'a>(source: IpAddr, slices: impl Iterator<Item = &'a Bytes>) -> Bytes {
    let room = if source.is_ipv6() {
        MAX_ERROR_V6 - ipv6::HEADER_LEN - HEADER_LEN
    } else {
        MAX_ERROR_V4 - ipv4::HEADER_LEN - HEADER_LEN
    };
    let mut octets = BytesMut::new();
    for slice in slices {
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

/// Whether a source may be sent an error.
fn is_answerable(source: IpAddr) -> bool {
    Scope::of(source).is_single_host() && !source.is_loopback()
}

/// The head of the datagram that somebody sent last, for an ICMP error that may have to quote it.
///
/// [`Quote::of`] copies as much as an error can hold; this copies the head alone, into a buffer that
/// is used again, and so is cheap enough for every datagram of a busy flow. RFC 792 asks for no more
/// than the header and eight octets.
#[derive(Clone, Debug, Default)]
pub struct DatagramHead {
    octets: Vec<u8>,
    ip_len: usize,
    /// Octets of payload; of a super-datagram those of its last piece.
    payload_len: usize,
}

impl DatagramHead {
    /// Takes the head of a datagram in place of the one before; `false` where the packet is none.
    pub fn take(&mut self, datagram: &Packet) -> bool {
        self.octets.clear();
        let is_datagram = matches!(datagram.transport(), Transport::Udp(_));
        if is_datagram {
            self.octets.extend_from_slice(datagram.head());
            self.ip_len = datagram.ip_len();
            self.payload_len = match datagram.segment_size().map(|size| usize::from(size.get())) {
                Some(size) => (datagram.payload_len() - 1) % size + 1,
                None => datagram.payload_len(),
            };
        }
        is_datagram
    }

    /// Octets of the head: the IP header with its options or extensions, and the UDP header.
    pub fn len(&self) -> usize {
        self.octets.len()
    }

    /// Whether no datagram was taken yet.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Whether the datagram must not be fragmented; in IPv6 no router may.
    pub fn dont_fragment(&self) -> bool {
        self.ip(&self.octets).dont_fragment()
    }

    /// Quotes the datagram: its head and what the caller still has of its payload, which is the
    /// whole or nothing. `None` where there is no datagram, or no error must be sent in answer.
    pub fn quote(&self, payload: &Bytes) -> Option<Quote> {
        let mut head = BytesMut::from(self.octets.as_slice());
        ip::set_total_len(&mut head, self.octets.len() + self.payload_len);
        udp::cut_header(head.get_mut(self.ip_len..)?, udp::HEADER_LEN + self.payload_len);
        let ip = self.ip(&head);
        let (source, destination) = (ip.source(), ip.destination());
        let answerable =
            !self.is_empty() && is_answerable(source) && Scope::of(destination).is_single_host();
        answerable.then(|| Quote {
            source,
            destination,
            protocol_at: 0,
            octets: quoted(source, [head.freeze(), payload.clone()].iter()),
        })
    }

    fn ip<'a>(&self, octets: &'a [u8]) -> Ip<'a> {
        Ip::new(octets, self.ip_len, Protocol::Udp)
    }
}
