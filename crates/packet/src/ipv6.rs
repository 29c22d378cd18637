use std::net::Ipv6Addr;

use bytes::{BufMut, BytesMut};
use pnet_packet::ipv6::{FragmentPacket, Ipv6Packet, MutableIpv6Packet};

use crate::ParseError;
use crate::flow::Protocol;
use crate::fragment::FragmentInfo;
use crate::ip::{Layout, Version};

/// Octets of the fixed header.
pub(crate) const HEADER_LEN: usize = 40;

/// Where the fixed header names what follows it.
const NEXT_HEADER_AT: usize = 6;

/// Octets of a fragment header (RFC 8200 §4.5).
pub(crate) const FRAGMENT_LEN: usize = 8;

/// The number that names a fragment header.
const FRAGMENT: u8 = 44;

/// Extension headers that a walk passes. RFC 8200 §4.1 has room for seven in a sensible packet.
const MAX_EXTENSIONS: usize = 8;

const HOP_LIMIT: u8 = 64;

/// A measured IPv6 header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ipv6Header<'a>(pub(crate) &'a [u8]);

impl<'a> Ipv6Header<'a> {
    pub(crate) fn source(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.field(|ip| ip.get_source().to_bits()))
    }

    pub(crate) fn destination(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.field(|ip| ip.get_destination().to_bits()))
    }

    pub(crate) fn hop_limit(&self) -> u8 {
        self.field(Ipv6Packet::get_hop_limit)
    }

    pub(crate) fn traffic_class(&self) -> u8 {
        self.field(Ipv6Packet::get_traffic_class)
    }

    /// Source and destination, for the pseudo-header.
    pub(crate) fn addresses(&self) -> &'a [u8] {
        self.0.get(8..40).unwrap_or_default()
    }

    /// Reads through the view; the default is never seen, as measuring comes first.
    fn field<T: Default>(&self, read: impl FnOnce(&Ipv6Packet<'a>) -> T) -> T {
        Ipv6Packet::new(self.0).map(|ip| read(&ip)).unwrap_or_default()
    }
}

pub(crate) fn measure(bytes: &[u8]) -> Result<Layout, ParseError> {
    let ip = Ipv6Packet::new(bytes).ok_or(ParseError::IpLength)?;
    let total_len = HEADER_LEN + usize::from(ip.get_payload_length());
    let packet = bytes.get(..total_len).ok_or(ParseError::IpLength)?;
    let walk = walk(packet)?;
    if let Some((fragment, _)) = walk.fragment
        && !fragment.holds(total_len - walk.header_len)
    {
        return Err(ParseError::FragmentOffset);
    }
    Ok(Layout {
        version: Version::V6,
        total_len,
        header_len: walk.header_len,
        protocol: Protocol::from(walk.protocol),
        fragment: walk.fragment.is_some(),
    })
}

/// Where a walk over the extension headers ended.
pub(crate) struct Walk {
    /// The first number that names no extension header.
    pub(crate) protocol: u8,
    /// Where that number stands.
    pub(crate) named_at: usize,
    /// Octets walked over: up to the transport header, or the payload of a fragment.
    pub(crate) header_len: usize,
    /// The fragment header that ended the walk, and where that header is named.
    pub(crate) fragment: Option<(FragmentInfo, usize)>,
}

/// Walks over the extension headers of a packet (RFC 8200 §4), a bounded number of them.
pub(crate) fn walk(packet: &[u8]) -> Result<Walk, ParseError> {
    let (mut named_at, mut at) = (NEXT_HEADER_AT, HEADER_LEN);
    for _ in 0..=MAX_EXTENSIONS {
        let protocol = *packet.get(named_at).ok_or(ParseError::ExtensionHeaders)?;
        let Some(unit) = Unit::of(protocol) else {
            return Ok(Walk { protocol, named_at, header_len: at, fragment: None });
        };
        let len = unit.header_len(packet.get(at..).unwrap_or_default());
        let header = packet.get(at..at + len).ok_or(ParseError::ExtensionHeaders)?;
        if let Some(info) = unit.fragment(header) {
            let protocol = header.first().copied().unwrap_or_default();
            let fragment = Some((info, named_at));
            return Ok(Walk { protocol, named_at: at, header_len: at + len, fragment });
        }
        (named_at, at) = (at, at + len);
    }
    Err(ParseError::ExtensionHeaders)
}

/// One extension header.
#[derive(Clone, Copy)]
pub(crate) struct Extension<'a> {
    /// The number that names it.
    pub(crate) protocol: u8,
    /// Where it stands in the packet.
    pub(crate) start: usize,
    pub(crate) octets: &'a [u8],
}

/// The extension headers of a packet that was measured, a bounded number of them.
pub(crate) fn extensions(packet: &[u8]) -> impl Iterator<Item = Extension<'_>> {
    let (mut named_at, mut start) = (NEXT_HEADER_AT, HEADER_LEN);
    std::iter::from_fn(move || {
        let protocol = *packet.get(named_at)?;
        let len = Unit::of(protocol)?.header_len(packet.get(start..)?);
        let octets = packet.get(start..start + len)?;
        let extension = Extension { protocol, start, octets };
        (named_at, start) = (start, start + len);
        Some(extension)
    })
    .take(MAX_EXTENSIONS)
}

/// How an extension header states its length.
#[derive(Clone, Copy)]
enum Unit {
    /// Units of eight octets, the first not counted: hop-by-hop and destination options, routing
    /// (RFC 8200 §4.3–4.6), mobility, host identity, shim6.
    Eight,
    /// Units of four octets, the first two not counted: authentication (RFC 4302 §2.2).
    Four,
    /// Always eight octets: fragment.
    Fragment,
}

impl Unit {
    fn of(protocol: u8) -> Option<Self> {
        match protocol {
            0 | 43 | 60 | 135 | 139 | 140 => Some(Self::Eight),
            FRAGMENT => Some(Self::Fragment),
            51 => Some(Self::Four),
            _ => None,
        }
    }

    fn header_len(self, header: &[u8]) -> usize {
        let units = header.get(1).copied().map_or(0, usize::from);
        match self {
            Self::Eight => (units + 1) * 8,
            Self::Four => (units + 2) * 4,
            Self::Fragment => FRAGMENT_LEN,
        }
    }

    /// The fragment that a header speaks of; an atomic one (RFC 6946) is a whole packet.
    fn fragment(self, header: &[u8]) -> Option<FragmentInfo> {
        match self {
            Self::Fragment => Some(read_fragment(header)).filter(|info| info.is_fragment()),
            Self::Eight | Self::Four => None,
        }
    }
}

/// The fragment that the last octets of a head speak of.
pub(crate) fn fragment(head: &[u8]) -> FragmentInfo {
    head.last_chunk::<FRAGMENT_LEN>().map(|header| read_fragment(header)).unwrap_or_default()
}

fn read_fragment(header: &[u8]) -> FragmentInfo {
    FragmentPacket::new(header)
        .map(|fragment| FragmentInfo {
            identification: fragment.get_id(),
            offset: fragment.get_fragment_offset_with_flags() & !7,
            more: fragment.get_fragment_offset_with_flags() & 1 != 0,
        })
        .unwrap_or_default()
}

/// An IP header with a fragment header behind it, for `payload_len` octets of payload.
pub(crate) fn with_fragment_header(
    header: &[u8],
    protocol: Protocol,
    info: FragmentInfo,
    payload_len: usize,
) -> BytesMut {
    let mut head = BytesMut::from(header);
    if let Some(name) = walk(header).ok().and_then(|walk| head.get_mut(walk.named_at)) {
        *name = FRAGMENT;
    }
    head.put_slice(&[protocol.number(), 0]);
    head.put_u16(info.offset | u16::from(info.more));
    head.put_u32(info.identification);
    set_total_len(&mut head, header.len() + FRAGMENT_LEN + payload_len);
    head
}

/// The head of a fragment without the fragment header that ends it, for `payload_len` octets of
/// payload.
pub(crate) fn without_fragment_header(head: &[u8], payload_len: usize) -> BytesMut {
    let mut whole = BytesMut::from(head);
    if let Ok(Walk { protocol, fragment: Some((_, named_at)), .. }) = walk(head) {
        whole.truncate(head.len() - FRAGMENT_LEN);
        // RFC 8200 §4.5: the last header before it now names what the first fragment's names.
        if let Some(name) = whole.get_mut(named_at) {
            *name = protocol;
        }
    }
    let len = whole.len();
    set_total_len(&mut whole, len + payload_len);
    whole
}

/// Appends a header without extensions for `payload_len` octets of payload.
pub(crate) fn put_header(
    head: &mut BytesMut,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    protocol: Protocol,
    payload_len: usize,
) {
    head.put_u32(6 << 28);
    head.put_u16(0);
    head.put_u8(protocol.number());
    head.put_u8(HOP_LIMIT);
    head.put_slice(&source.octets());
    head.put_slice(&destination.octets());
    set_total_len(head, HEADER_LEN + payload_len);
}

/// Writes the congestion codepoint into a traffic class that is zero.
pub(crate) fn set_ecn(head: &mut [u8], bits: u8) {
    if let Some(mut ip) = MutableIpv6Packet::new(head) {
        ip.set_traffic_class(bits);
    }
}

/// Writes the payload length.
pub(crate) fn set_total_len(head: &mut [u8], total_len: usize) {
    let payload_len = total_len.saturating_sub(HEADER_LEN);
    if let Some(mut ip) = MutableIpv6Packet::new(head) {
        ip.set_payload_length(u16::try_from(payload_len).unwrap_or(u16::MAX));
    }
}
