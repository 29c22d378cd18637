use std::net::{IpAddr, Ipv6Addr};

use bytes::BytesMut;

use crate::checksum::Sum;
use crate::flow::Protocol;
use crate::ipv4::Ipv4Header;
use crate::ipv6::Ipv6Header;
use crate::quote::ParameterProblem;
use crate::{ParseError, ipv4, ipv6, ipv6_options};

/// The version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// IPv4 (RFC 791).
    V4,
    /// IPv6 (RFC 8200).
    V6,
}

/// The congestion codepoint of an IP header (RFC 3168 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// Not ECN-capable transport (00).
    NotEct,
    /// ECN-capable transport, codepoint 1 (01).
    Ect1,
    /// ECN-capable transport, codepoint 0 (10).
    Ect0,
    /// Congestion experienced (11).
    Ce,
}

impl Ecn {
    /// The two low bits of a traffic class.
    pub const fn bits(self) -> u8 {
        match self {
            Self::NotEct => 0b00,
            Self::Ect1 => 0b01,
            Self::Ect0 => 0b10,
            Self::Ce => 0b11,
        }
    }
}

impl From<u8> for Ecn {
    /// From the two low bits of a traffic class.
    fn from(traffic_class: u8) -> Self {
        match traffic_class & 0b11 {
            0b00 => Self::NotEct,
            0b01 => Self::Ect1,
            0b10 => Self::Ect0,
            _ => Self::Ce,
        }
    }
}

/// What is to be done with a packet whose extension headers cannot be processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeaderProblem {
    /// To drop it without a word.
    Drop,
    /// To drop it and tell its sender.
    Tell(ParameterProblem),
}

/// The IP header of a packet, of either version.
#[derive(Clone, Copy, Debug)]
pub struct Ip<'a> {
    header: Header<'a>,
    header_len: usize,
    protocol: Protocol,
}

#[derive(Clone, Copy, Debug)]
enum Header<'a> {
    V4(Ipv4Header<'a>),
    V6(Ipv6Header<'a>),
}

impl<'a> Ip<'a> {
    /// A view of a measured header; `bytes` may go on behind it.
    pub(crate) fn new(bytes: &'a [u8], header_len: usize, protocol: Protocol) -> Self {
        let header = match version(bytes) {
            Some(Version::V6) => Header::V6(Ipv6Header(bytes)),
            _ => Header::V4(Ipv4Header(bytes)),
        };
        Self { header, header_len, protocol }
    }

    /// The version.
    pub fn version(&self) -> Version {
        match self.header {
            Header::V4(_) => Version::V4,
            Header::V6(_) => Version::V6,
        }
    }

    /// The source address.
    pub fn source(&self) -> IpAddr {
        match self.header {
            Header::V4(header) => header.source().into(),
            Header::V6(header) => header.source().into(),
        }
    }

    /// The destination address.
    pub fn destination(&self) -> IpAddr {
        match self.header {
            Header::V4(header) => header.destination().into(),
            Header::V6(header) => header.destination().into(),
        }
    }

    /// The upper-layer protocol: in IPv6 that behind the extension headers, or the one that the
    /// fragment header names.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The time to live of IPv4, the hop limit of IPv6.
    pub fn hop_limit(&self) -> u8 {
        match self.header {
            Header::V4(header) => header.time_to_live(),
            Header::V6(header) => header.hop_limit(),
        }
    }

    /// The congestion codepoint.
    pub fn ecn(&self) -> Ecn {
        match self.header {
            Header::V4(header) => header.traffic_class().into(),
            Header::V6(header) => header.traffic_class().into(),
        }
    }

    /// Whether routers must not fragment the packet; in IPv6 they never may.
    pub fn dont_fragment(&self) -> bool {
        match self.header {
            Header::V4(header) => header.dont_fragment(),
            Header::V6(_) => true,
        }
    }

    /// Octets before the transport header: IPv4 options and IPv6 extension headers included.
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// What in the extension headers of an IPv6 packet forbids to process it, if anything: an option
    /// that is unknown and must not be passed over, or a source route (RFC 8200 §4.2, RFC 5095).
    /// Super-segments and fragments have none that was not in their first packet.
    pub fn header_problem(&self) -> Option<HeaderProblem> {
        match self.header {
            Header::V6(header) if self.header_len > ipv6::HEADER_LEN => {
                ipv6_options::problem(header.0)
            }
            _ => None,
        }
    }

    /// The sum of the pseudo-header for a transport header and payload of `len` octets.
    pub(crate) fn pseudo_header(&self, len: usize) -> Sum {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let sum = Sum::default()
            .with(&u32::from(self.protocol.number()).to_be_bytes())
            .with(&len.to_be_bytes());
        match self.header {
            Header::V4(header) => sum.with(header.addresses()),
            Header::V6(header) => sum.with(header.addresses()),
        }
    }
}

/// What measuring an IP header finds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) version: Version,
    /// Octets of the whole packet; what lies behind them is padding.
    pub(crate) total_len: usize,
    /// Octets before the transport header.
    pub(crate) header_len: usize,
    pub(crate) protocol: Protocol,
    pub(crate) fragment: bool,
}

/// Validates an IP header of either version against the bytes that there are.
pub(crate) fn measure(bytes: &[u8]) -> Result<Layout, ParseError> {
    match version(bytes).ok_or(ParseError::Version)? {
        Version::V4 => ipv4::measure(bytes),
        Version::V6 => ipv6::measure(bytes),
    }
}

fn version(bytes: &[u8]) -> Option<Version> {
    match bytes.first()? >> 4 {
        4 => Some(Version::V4),
        6 => Some(Version::V6),
        _ => None,
    }
}

/// Writes new lengths into a header that was measured before: the packet is `total_len` octets
/// long, and `header_len` of them are the IP header.
pub(crate) fn set_total_len(head: &mut [u8], total_len: usize) {
    match version(head) {
        Some(Version::V6) => ipv6::set_total_len(head, total_len),
        _ => ipv4::set_total_len(head, total_len),
    }
}

/// Writes a codepoint into a header that has none.
pub(crate) fn set_ecn(head: &mut [u8], ecn: Ecn) {
    match version(head) {
        Some(Version::V6) => ipv6::set_ecn(head, ecn.bits()),
        _ => ipv4::set_ecn(head, ecn.bits()),
    }
}

/// Appends a header without options for `payload_len` octets of payload.
pub(crate) fn put_header(
    head: &mut BytesMut,
    source: IpAddr,
    destination: IpAddr,
    protocol: Protocol,
    payload_len: usize,
) {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            ipv4::put_header(head, source, destination, protocol, payload_len);
        }
        (source, destination) => {
            ipv6::put_header(head, as_ipv6(source), as_ipv6(destination), protocol, payload_len);
        }
    }
}

fn as_ipv6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}
