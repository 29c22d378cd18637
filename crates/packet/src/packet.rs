use std::net::SocketAddr;
use std::num::NonZeroU16;

use bytes::{BufMut, Bytes, BytesMut};

use crate::body::Body;
use crate::checksum::Sum;
use crate::flow::{FlowKey, Protocol};
use crate::fragment::{FragmentInfo, Fragments};
use crate::heads::Heads;
use crate::icmp::{self, IcmpHeader};
use crate::ip::{self, Ip, Version};
use crate::segment::Segments;
use crate::tcp::{self, TcpHeader};
use crate::udp::{self, UdpHeader};
use crate::{ParseError, fragment};

/// What is known of a packet's transport checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// The field holds the checksum, and it was verified.
    Complete,
    /// The field holds the sum of the pseudo-header only, folded and not complemented: on input
    /// the packet never left this machine and is trusted, on output the device completes it.
    Partial,
    /// The device has verified the packet; the field may hold anything.
    Vouched,
}

/// A validated IP packet: headers in one piece, payload in slices.
///
/// Cloning copies no octets. [`Packet::parse`] is the only validation there is; accessors cannot
/// fail and never measure again.
#[derive(Clone, Debug)]
pub struct Packet {
    head: Bytes,
    body: Body,
    ip_len: u16,
    protocol: Protocol,
    kind: Kind,
    checksum: Checksum,
    segment_size: Option<NonZeroU16>,
    /// Octets of the buffers that it keeps alive, where they are more than its own.
    pinned: u32,
}

/// The transport header of a packet.
#[derive(Clone, Copy, Debug)]
pub enum Transport<'a> {
    /// A TCP segment.
    Tcp(TcpHeader<'a>),
    /// A UDP datagram.
    Udp(UdpHeader<'a>),
    /// An ICMP message.
    Icmp(IcmpHeader<'a>),
    /// An `ICMPv6` message.
    Icmpv6(IcmpHeader<'a>),
    /// A part of a packet; even the first one is never read as a whole packet. Its payload,
    /// transport header included, is the body.
    Fragment(FragmentInfo),
    /// Anything else; what follows the IP header is the body.
    Other,
}

/// How the octets behind the IP header are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Udp,
    Icmp,
    Icmpv6,
    Fragment,
    Other,
}

impl Packet {
    /// Validates a packet and its checksums. Octets behind the IP packet's end are cut off.
    pub fn parse(bytes: Bytes) -> Result<Self, ParseError> {
        Self::parse_offloaded(bytes, Checksum::Complete, None)
    }

    /// Validates a packet from a device that may have spared the transport checksum, or that
    /// hands over a super-segment: up to 64 KiB that are to be cut into pieces of `segment_size`
    /// octets of payload (for UDP each piece is one datagram).
    pub fn parse_offloaded(
        mut bytes: Bytes,
        checksum: Checksum,
        segment_size: Option<NonZeroU16>,
    ) -> Result<Self, ParseError> {
        let ip = ip::measure(&bytes)?;
        let kind = Kind::of(&ip);
        if segment_size.is_some() && !kind.is_segmentable() {
            return Err(ParseError::NotSegmentable);
        }
        bytes.truncate(ip.total_len);
        let payload = bytes.get(ip.header_len..).unwrap_or_default();
        let (header_len, len) = kind.measure(payload)?;
        if checksum == Checksum::Complete {
            let ip = Ip::new(&bytes, ip.header_len, ip.protocol);
            kind.verify(&ip, payload.get(..len).unwrap_or_default())?;
        }
        let surplus = len < payload.len();
        bytes.truncate(ip.header_len + len);
        let mut head = bytes.split_to(ip.header_len + header_len);
        if surplus {
            head = with_total_len(&head, ip.header_len + len);
        }
        let layout = Layout { ip_len: ip.header_len, protocol: ip.protocol, kind };
        Ok(Self::assemble(head, Body::from(bytes), layout, checksum, segment_size))
    }

    /// Puts together what is known to be valid. A segment size that the payload does not exceed
    /// is forgotten.
    pub(crate) fn assemble(
        head: Bytes,
        body: Body,
        layout: Layout,
        checksum: Checksum,
        segment_size: Option<NonZeroU16>,
    ) -> Self {
        let segment_size = segment_size.filter(|size| body.octets() > usize::from(size.get()));
        let ip_len = u16::try_from(layout.ip_len).unwrap_or(u16::MAX);
        let Layout { protocol, kind, .. } = layout;
        Self { head, body, ip_len, protocol, kind, checksum, segment_size, pinned: 0 }
    }

    /// Notes that its octets keep so many of a larger buffer alive.
    #[must_use]
    pub fn with_pinned(mut self, octets: usize) -> Self {
        self.pinned = u32::try_from(octets).unwrap_or(u32::MAX);
        self
    }

    /// How many octets of memory it keeps alive: its own, unless
    /// [`with_pinned`](Self::with_pinned) told of more. Whoever keeps a part of the payload keeps
    /// all of them.
    pub fn pinned(&self) -> usize {
        self.total_len().max(self.pinned as usize)
    }

    /// The IP header.
    pub fn ip(&self) -> Ip<'_> {
        Ip::new(&self.head, self.ip_len(), self.protocol)
    }

    /// The transport header.
    pub fn transport(&self) -> Transport<'_> {
        let header = self.head.get(self.ip_len()..).unwrap_or_default();
        match self.kind {
            Kind::Tcp => Transport::Tcp(TcpHeader(header)),
            Kind::Udp => Transport::Udp(UdpHeader(header)),
            Kind::Icmp => Transport::Icmp(IcmpHeader(header)),
            Kind::Icmpv6 => Transport::Icmpv6(IcmpHeader(header)),
            Kind::Fragment => Transport::Fragment(fragment::read(&self.head, self.ip().version())),
            Kind::Other => Transport::Other,
        }
    }

    /// The flow of a whole TCP segment or UDP datagram; its source is the packet's sender.
    pub fn flow(&self) -> Option<FlowKey> {
        let (source_port, destination_port) = match self.transport() {
            Transport::Tcp(tcp) => (tcp.source_port(), tcp.destination_port()),
            Transport::Udp(udp) => (udp.source_port(), udp.destination_port()),
            _ => return None,
        };
        let ip = self.ip();
        let source = SocketAddr::new(ip.source(), source_port);
        let destination = SocketAddr::new(ip.destination(), destination_port);
        Some(FlowKey::new(self.protocol, source, destination))
    }

    /// The IP and transport headers: of fragments and unknown protocols the IP header alone, of
    /// ICMP the first eight octets with it.
    pub fn head(&self) -> &Bytes {
        &self.head
    }

    /// What follows the head, in at most 16 slices.
    pub fn body(&self) -> &[Bytes] {
        &self.body
    }

    /// Gives up the headers for the payload.
    pub fn into_body(self) -> Body {
        self.body
    }

    /// The number of octets in the body.
    pub fn payload_len(&self) -> usize {
        self.body.octets()
    }

    /// The number of octets in head and body.
    pub fn total_len(&self) -> usize {
        self.head.len() + self.payload_len()
    }

    /// What is known of the transport checksum.
    pub fn checksum(&self) -> Checksum {
        self.checksum
    }

    /// The payload octets of each piece that a super-segment is to be cut into; `None` for a
    /// packet that fits the link as it is.
    pub fn segment_size(&self) -> Option<NonZeroU16> {
        self.segment_size
    }

    /// The packets that a device without offload has to send in place of this one: every item is
    /// [`Checksum::Complete`] and has no segment size. Their payload are slices of this one's.
    pub fn segments(&self) -> impl Iterator<Item = Self> {
        Segments::new(self, None)
    }

    /// The same with their heads in room that they share.
    pub fn segments_in<'a>(&'a self, heads: &'a mut Heads) -> impl Iterator<Item = Self> + 'a {
        Segments::new(self, Some(heads))
    }

    /// The packets to send in place of this one over a link that carries `mtu` octets at a time: its
    /// [`segments`](Self::segments), and in place of each that does not fit its fragments (RFC 791
    /// §3.2, RFC 8200 §4.5), which are made of slices of this packet's payload.
    ///
    /// Segments take consecutive identifications from `identification` on; IPv4 has 16 bits for it.
    /// Every fragment holds at least eight octets, whatever the MTU; a fragment stays as it is. Do not
    /// call it for what somebody else wants uncut ([`Ip::dont_fragment`]).
    pub fn fragments(&self, mtu: usize, identification: u32) -> impl Iterator<Item = Self> {
        (identification..=u32::MAX)
            .chain(0..)
            .zip(self.segments())
            .flat_map(move |(identification, packet)| Fragments::new(packet, mtu, identification))
    }

    /// A contiguous copy, the checksum field as it is.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.total_len());
        bytes.put_slice(&self.head);
        self.body.iter().for_each(|slice| bytes.put_slice(slice));
        bytes.freeze()
    }

    pub(crate) fn ip_len(&self) -> usize {
        usize::from(self.ip_len)
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn slices(&self) -> &Body {
        &self.body
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout { ip_len: self.ip_len(), protocol: self.protocol, kind: self.kind }
    }
}

/// Where the headers of a packet lie and how they are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) ip_len: usize,
    pub(crate) protocol: Protocol,
    pub(crate) kind: Kind,
}

impl Kind {
    fn of(ip: &ip::Layout) -> Self {
        match (ip.protocol, ip.version) {
            _ if ip.fragment => Self::Fragment,
            (Protocol::Tcp, _) => Self::Tcp,
            (Protocol::Udp, _) => Self::Udp,
            (Protocol::Icmp, Version::V4) => Self::Icmp,
            (Protocol::Icmpv6, Version::V6) => Self::Icmpv6,
            _ => Self::Other,
        }
    }

    fn is_segmentable(self) -> bool {
        matches!(self, Self::Tcp | Self::Udp)
    }

    /// Octets of the transport header, and of header and payload together.
    fn measure(self, payload: &[u8]) -> Result<(usize, usize), ParseError> {
        match self {
            Self::Tcp => Ok((tcp::measure(payload)?, payload.len())),
            Self::Udp => Ok((udp::HEADER_LEN, udp::measure(payload)?)),
            Self::Icmp | Self::Icmpv6 => Ok((icmp::measure(payload)?, payload.len())),
            Self::Fragment | Self::Other => Ok((0, payload.len())),
        }
    }

    fn verify(self, ip: &Ip<'_>, payload: &[u8]) -> Result<(), ParseError> {
        // RFC 768: a datagram over IPv4 may go without. RFC 8200 §8.1: over IPv6 it may not.
        let spared = self == Self::Udp && UdpHeader(payload).checksum() == 0;
        let valid = match self {
            Self::Fragment | Self::Other => true,
            Self::Udp if spared => ip.version() == Version::V4,
            _ => self.covered(ip, payload.len()).with(payload).is_valid(),
        };
        if valid { Ok(()) } else { Err(ParseError::TransportChecksum) }
    }

    /// The sum that the transport checksum starts from: all but ICMP cover a pseudo-header.
    pub(crate) fn covered(self, ip: &Ip<'_>, len: usize) -> Sum {
        match self {
            Self::Icmp => Sum::default(),
            _ => ip.pseudo_header(len),
        }
    }

    /// Where the checksum stands in the transport header.
    pub(crate) fn checksum_at(self) -> Option<usize> {
        match self {
            Self::Tcp => Some(16),
            Self::Udp => Some(6),
            Self::Icmp | Self::Icmpv6 => Some(2),
            Self::Fragment | Self::Other => None,
        }
    }
}

/// A copy of a head whose UDP datagram is shorter than its IP payload says: what lies behind the
/// datagram (RFC 9868 has options there) is cut off, and the IP header must not promise it.
fn with_total_len(head: &[u8], total_len: usize) -> Bytes {
    let mut head = BytesMut::from(head);
    ip::set_total_len(&mut head, total_len);
    head.freeze()
}
