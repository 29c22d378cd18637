use std::net::Ipv4Addr;

use bytes::{BufMut, BytesMut};
use pnet_packet::ipv4::{Ipv4Flags, Ipv4Packet, MutableIpv4Packet};

use crate::ParseError;
use crate::checksum::Sum;
use crate::flow::Protocol;
use crate::fragment::FragmentInfo;
use crate::ip::{Layout, Version};

/// Octets of a header without options.
pub(crate) const HEADER_LEN: usize = 20;

/// The time to live of what we send (RFC 1700, "IP time to live parameter").
const TIME_TO_LIVE: u8 = 64;

/// A measured IPv4 header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ipv4Header<'a>(pub(crate) &'a [u8]);

impl<'a> Ipv4Header<'a> {
    pub(crate) fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.field(|ip| ip.get_source().to_bits()))
    }

    pub(crate) fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.field(|ip| ip.get_destination().to_bits()))
    }

    pub(crate) fn time_to_live(&self) -> u8 {
        self.field(Ipv4Packet::get_ttl)
    }

    pub(crate) fn traffic_class(&self) -> u8 {
        self.field(|ip| ip.get_dscp() << 2 | ip.get_ecn())
    }

    pub(crate) fn dont_fragment(&self) -> bool {
        self.field(|ip| ip.get_flags() & Ipv4Flags::DontFragment != 0)
    }

    pub(crate) fn fragment(&self) -> FragmentInfo {
        FragmentInfo {
            identification: self.field(Ipv4Packet::get_identification).into(),
            offset: self.field(Ipv4Packet::get_fragment_offset) << 3,
            more: self.field(|ip| ip.get_flags() & Ipv4Flags::MoreFragments != 0),
        }
    }

    /// Source and destination, for the pseudo-header.
    pub(crate) fn addresses(&self) -> &'a [u8] {
        self.0.get(12..20).unwrap_or_default()
    }

    /// Reads through the view; the default is never seen, as measuring comes first.
    fn field<T: Default>(&self, read: impl FnOnce(&Ipv4Packet<'a>) -> T) -> T {
        Ipv4Packet::new(self.0).map(|ip| read(&ip)).unwrap_or_default()
    }
}

pub(crate) fn measure(bytes: &[u8]) -> Result<Layout, ParseError> {
    let ip = Ipv4Packet::new(bytes).ok_or(ParseError::IpLength)?;
    let header_len = usize::from(ip.get_header_length()) * 4;
    let total_len = usize::from(ip.get_total_length());
    if header_len < HEADER_LEN || total_len < header_len {
        return Err(ParseError::IpLength);
    }
    let packet = bytes.get(..total_len).ok_or(ParseError::IpLength)?;
    let header = packet.get(..header_len).ok_or(ParseError::IpLength)?;
    if !Sum::default().with(header).is_valid() {
        return Err(ParseError::IpChecksum);
    }
    let fragment = Ipv4Header(bytes).fragment();
    if fragment.is_fragment() && !fragment.holds(total_len - header_len) {
        return Err(ParseError::FragmentOffset);
    }
    Ok(Layout {
        version: Version::V4,
        total_len,
        header_len,
        protocol: Protocol::from(ip.get_next_level_protocol().0),
        fragment: fragment.is_fragment(),
    })
}

/// Appends a header without options for `payload_len` octets of payload.
pub(crate) fn put_header(
    head: &mut BytesMut,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: Protocol,
    payload_len: usize,
) {
    head.put_slice(&[0x45, 0, 0, 0]);
    // RFC 6864 §4.1: what is never fragmented needs no identification.
    head.put_slice(&[0, 0, 0x40, 0]);
    head.put_slice(&[TIME_TO_LIVE, protocol.number(), 0, 0]);
    head.put_slice(&source.octets());
    head.put_slice(&destination.octets());
    set_total_len(head, HEADER_LEN + payload_len);
}

/// Writes the total length, and the header checksum with it.
pub(crate) fn set_total_len(head: &mut [u8], total_len: usize) {
    if let Some(mut ip) = MutableIpv4Packet::new(head) {
        ip.set_total_length(u16::try_from(total_len).unwrap_or(u16::MAX));
    }
    update_checksum(head);
}

/// Makes a header that of a fragment, or with no fragment in mind, that of a whole packet.
pub(crate) fn set_fragment(head: &mut [u8], info: FragmentInfo) {
    if let Some(mut ip) = MutableIpv4Packet::new(head) {
        ip.set_identification((info.identification & 0xFFFF) as u16);
        ip.set_flags(if info.more { Ipv4Flags::MoreFragments } else { 0 });
        ip.set_fragment_offset(info.offset >> 3);
    }
    update_checksum(head);
}

/// Writes the congestion codepoint, and the header checksum with it.
pub(crate) fn set_ecn(head: &mut [u8], bits: u8) {
    if let Some(mut ip) = MutableIpv4Packet::new(head) {
        ip.set_ecn(bits);
    }
    update_checksum(head);
}

/// Adds to the identification: each packet cut from a larger one gets the next number.
pub(crate) fn advance_identification(head: &mut [u8], by: u16) {
    if let Some(mut ip) = MutableIpv4Packet::new(head) {
        ip.set_identification(ip.get_identification().wrapping_add(by));
    }
    update_checksum(head);
}

fn update_checksum(head: &mut [u8]) {
    let Some(mut ip) = MutableIpv4Packet::new(head) else { return };
    let header_len = usize::from(ip.get_header_length()) * 4;
    ip.set_checksum(0);
    let sum = Sum::default().with(head.get(..header_len).unwrap_or_default());
    if let Some(mut ip) = MutableIpv4Packet::new(head) {
        ip.set_checksum(sum.checksum());
    }
}
