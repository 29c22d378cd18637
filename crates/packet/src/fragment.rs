use crate::body::Body;
use crate::flow::Protocol;
use crate::ip::Version;
use crate::ipv4::{self, Ipv4Header};
use crate::ipv6;
use crate::packet::{Checksum, Kind, Layout, Packet};

/// The largest payload that the fragments of one packet can make.
const MAX_REASSEMBLED: usize = 65_535;

/// Which part of a packet a fragment is (RFC 791 §3.2, RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentInfo {
    /// Equal in all fragments of one packet.
    pub identification: u32,
    /// Where the fragment's payload begins in the packet's, in octets.
    pub offset: u16,
    /// Whether more fragments follow this one.
    pub more: bool,
}

impl FragmentInfo {
    /// Whether this is the fragment that holds the transport header.
    pub fn is_first(self) -> bool {
        self.offset == 0
    }

    /// Whether it is a part at all, not the whole.
    pub(crate) fn is_fragment(self) -> bool {
        self.offset != 0 || self.more
    }

    /// Whether a payload of this length ends within the largest packet.
    pub(crate) fn holds(self, payload_len: usize) -> bool {
        usize::from(self.offset) + payload_len <= MAX_REASSEMBLED
    }
}

/// What the head of a packet that is known to be a fragment says of it.
pub(crate) fn read(head: &[u8], version: Version) -> FragmentInfo {
    match version {
        Version::V4 => Ipv4Header(head).fragment(),
        Version::V6 => ipv6::fragment(head),
    }
}

/// Cuts a complete packet into fragments that fit an MTU; one that fits stays as it is, and so does
/// one that is a fragment itself.
pub(crate) struct Fragments {
    packet: Packet,
    /// All that follows the IP header.
    payload: Body,
    identification: u32,
    /// Octets of payload in each fragment but the last: a multiple of eight.
    room: usize,
    offset: usize,
    finished: bool,
}

impl Fragments {
    pub(crate) fn new(packet: Packet, mtu: usize, identification: u32) -> Self {
        let header = packet.head().slice(packet.ip_len().min(packet.head().len())..);
        let payload: Body = std::iter::once(header).chain(packet.body().iter().cloned()).collect();
        let overhead = match packet.ip().version() {
            Version::V4 => packet.ip_len(),
            Version::V6 => packet.ip_len() + ipv6::FRAGMENT_LEN,
        };
        let room = if packet.total_len() <= mtu || packet.kind() == Kind::Fragment {
            payload.octets()
        } else {
            (mtu.saturating_sub(overhead) & !7).max(8)
        };
        Self { packet, payload, identification, room, offset: 0, finished: false }
    }

    fn cut(&self, end: usize, more: bool) -> Packet {
        let payload = self.payload.slice(self.offset..end);
        let offset = u16::try_from(self.offset).unwrap_or(u16::MAX);
        let info = FragmentInfo { identification: self.identification, offset, more };
        let header = self.packet.head().get(..self.packet.ip_len()).unwrap_or_default();
        let protocol = self.packet.ip().protocol();
        let head = fragment_head(header, self.packet.ip().version(), protocol, info, &payload);
        let layout = Layout { ip_len: head.len(), protocol, kind: Kind::Fragment };
        Packet::assemble(head.freeze(), payload, layout, Checksum::Complete, None)
    }
}

fn fragment_head(
    header: &[u8],
    version: Version,
    protocol: Protocol,
    info: FragmentInfo,
    payload: &Body,
) -> bytes::BytesMut {
    match version {
        Version::V4 => {
            let mut head = bytes::BytesMut::from(header);
            ipv4::set_fragment(&mut head, info);
            ipv4::set_total_len(&mut head, header.len() + payload.octets());
            head
        }
        Version::V6 => ipv6::with_fragment_header(header, protocol, info, payload.octets()),
    }
}

impl Iterator for Fragments {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        if self.finished {
            return None;
        }
        let len = self.payload.octets();
        let end = self.offset.saturating_add(self.room).min(len);
        self.finished = end == len;
        if self.offset == 0 && self.finished {
            return Some(self.packet.clone());
        }
        let fragment = self.cut(end, !self.finished);
        self.offset = end;
        Some(fragment)
    }
}
