use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use pnet_packet::icmp::IcmpPacket;

use crate::body::Body;
use crate::checksum::Sum;
use crate::flow::Protocol;
use crate::ip::Ip;
use crate::packet::{Checksum, Kind, Layout, Packet, Transport};
use crate::scope::Scope;
use crate::{ParseError, ip, ipv4, ipv6};

/// Octets of type, code, checksum and the four that depend on the type.
pub(crate) const HEADER_LEN: usize = 8;

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

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
    (Scope::of(asker).is_single_host() && Scope::of(asked).is_single_host())
        .then(|| message.build(asked, asker, request.slices().clone()))
}

/// The header of a message that we send.
#[derive(Clone, Copy)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) rest: u32,
}

impl Message {
    pub(crate) fn build(self, source: IpAddr, destination: IpAddr, body: Body) -> Packet {
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
