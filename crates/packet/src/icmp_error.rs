//! ICMP errors that come from outside, about packets that we sent.

use std::net::{IpAddr, SocketAddr};

use crate::flow::{FlowKey, Protocol};
use crate::ip::{Ip, Version};
use crate::ipv4::Ipv4Header;
use crate::packet::{Packet, Transport};
use crate::quote::Unreachable;
use crate::seq::SeqNumber;
use crate::{ipv4, ipv6};

/// Octets of a transport header that every error quotes (RFC 792): ports, and of TCP the sequence
/// number.
const QUOTED_LEN: usize = 8;

/// What an ICMP error says about a packet that was sent (RFC 792, RFC 4443 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// What is wrong.
    pub cause: ErrorCause,
    /// The five-tuple of the packet; its source sent it.
    pub flow: FlowKey,
    /// The sequence number of a TCP segment.
    pub seq: Option<SeqNumber>,
}

/// What an ICMP error reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCause {
    /// Some link carries at most `mtu` octets at a time; 0 where an old router does not say.
    TooBig {
        /// What that link carries.
        mtu: u32,
    },
    /// The destination cannot be reached.
    Unreachable(Unreachable),
    /// Anything else: time exceeded, a parameter problem, a code of no meaning.
    Other,
}

impl IcmpError {
    /// Reads a packet; `None` where it is no ICMP error, does not quote the start of a TCP segment
    /// or UDP datagram, or is not addressed to the sender of what it quotes.
    pub fn of(packet: &Packet) -> Option<Self> {
        let cause = match packet.transport() {
            Transport::Icmp(icmp) => cause_v4(icmp.kind(), icmp.code(), icmp.rest())?,
            Transport::Icmpv6(icmp) => cause_v6(icmp.kind(), icmp.code(), icmp.rest())?,
            _ => return None,
        };
        let octets = packet.body().concat();
        let quoted = match packet.ip().version() {
            Version::V4 => Quoted::read_v4(&octets)?,
            Version::V6 => Quoted::read_v6(&octets)?,
        };
        let (flow, seq) = quoted.flow()?;
        (flow.source().ip() == packet.ip().destination()).then_some(Self { cause, flow, seq })
    }
}

/// RFC 792, RFC 1122 §3.2.2.1, RFC 1191 §4, RFC 1812 §5.2.7.1.
fn cause_v4(kind: u8, code: u8, rest: u32) -> Option<ErrorCause> {
    Some(match (kind, code) {
        (3, 0 | 6 | 11) => ErrorCause::Unreachable(Unreachable::Network),
        (3, 1 | 7 | 8 | 12) => ErrorCause::Unreachable(Unreachable::Host),
        (3, 2) => ErrorCause::Unreachable(Unreachable::Protocol),
        (3, 3) => ErrorCause::Unreachable(Unreachable::Port),
        (3, 4) => ErrorCause::TooBig { mtu: rest & 0xFFFF },
        (3, 9 | 10) => ErrorCause::Unreachable(Unreachable::HostProhibited),
        (3, 13) => ErrorCause::Unreachable(Unreachable::Prohibited),
        (3 | 4 | 11 | 12, _) => ErrorCause::Other,
        _ => return None,
    })
}

/// RFC 4443 §3.
fn cause_v6(kind: u8, code: u8, rest: u32) -> Option<ErrorCause> {
    Some(match (kind, code) {
        (1, 0) => ErrorCause::Unreachable(Unreachable::Network),
        (1, 1 | 5 | 6) => ErrorCause::Unreachable(Unreachable::Prohibited),
        (1, 2 | 3) => ErrorCause::Unreachable(Unreachable::Host),
        (1, 4) => ErrorCause::Unreachable(Unreachable::Port),
        (2, _) => ErrorCause::TooBig { mtu: rest },
        (4, 1) => ErrorCause::Unreachable(Unreachable::Protocol),
        (1..=127, _) => ErrorCause::Other,
        _ => return None,
    })
}

/// The start of a packet, cut anywhere behind its transport header's first octets.
struct Quoted<'a> {
    protocol: Protocol,
    source: IpAddr,
    destination: IpAddr,
    transport: &'a [u8; QUOTED_LEN],
}

impl<'a> Quoted<'a> {
    fn read_v4(octets: &'a [u8]) -> Option<Self> {
        let header_len = usize::from(octets.first()? & 15) * 4;
        let is_v4 = octets.first()? >> 4 == 4 && header_len >= ipv4::HEADER_LEN;
        let protocol = Protocol::from(*octets.get(9)?);
        let first = Ipv4Header(octets.get(..header_len)?).fragment().is_first();
        if is_v4 && first { Self::read(octets, header_len, protocol) } else { None }
    }

    fn read_v6(octets: &'a [u8]) -> Option<Self> {
        let walk = ipv6::walk(octets).ok()?;
        let first = walk.fragment.is_none_or(|(info, _)| info.is_first());
        let is_v6 = octets.first()? >> 4 == 6;
        if is_v6 && first {
            Self::read(octets, walk.header_len, Protocol::from(walk.protocol))
        } else {
            None
        }
    }

    fn read(octets: &'a [u8], header_len: usize, protocol: Protocol) -> Option<Self> {
        let ip = Ip::new(octets, header_len, protocol);
        let (source, destination) = (ip.source(), ip.destination());
        let transport = octets.get(header_len..)?.first_chunk()?;
        Some(Self { protocol, source, destination, transport })
    }

    fn flow(&self) -> Option<(FlowKey, Option<SeqNumber>)> {
        let [s0, s1, d0, d1, seq @ ..] = *self.transport;
        let source = SocketAddr::new(self.source, u16::from_be_bytes([s0, s1]));
        let destination = SocketAddr::new(self.destination, u16::from_be_bytes([d0, d1]));
        let seq = match self.protocol {
            Protocol::Tcp => Some(SeqNumber::new(u32::from_be_bytes(seq))),
            Protocol::Udp => None,
            _ => return None,
        };
        Some((FlowKey::new(self.protocol, source, destination), seq))
    }
}
