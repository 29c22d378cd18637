use bytes::BytesMut;

use crate::fragment::FragmentInfo;
use crate::ip::Version;
use crate::packet::{Packet, Transport};
use crate::{ipv4, ipv6};

/// The largest total length of IPv4, and payload length of IPv6.
const MAX_LEN: usize = 65_535;

/// The fragments of one packet that have come.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// In the order of their offsets, none of them overlapping another.
    parts: Vec<Part>,
    /// Octets in all parts.
    received: usize,
    /// Octets of the whole payload, once the last fragment has come.
    len: Option<usize>,
}

#[derive(Debug)]
struct Part {
    start: usize,
    end: usize,
    packet: Packet,
}

/// What came of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It is kept, and more must come.
    Kept,
    /// It was there already.
    Duplicate,
    /// It contradicts what is there, or is one too many.
    Overlapping,
    /// It was the last one missing.
    Complete,
}

impl Partial {
    /// What the parts cost in bytes.
    pub(super) fn cost(&self) -> usize {
        self.received + self.parts.len() * size_of::<Part>()
    }

    /// The fragment that holds the transport header.
    pub(super) fn first(&self) -> Option<&Packet> {
        self.parts.first().filter(|part| part.start == 0).map(|part| &part.packet)
    }

    /// Puts a fragment in its place.
    pub(super) fn add(&mut self, info: FragmentInfo, packet: Packet, max_parts: usize) -> Added {
        let start = usize::from(info.offset);
        let part = Part { start, end: start + packet.payload_len(), packet };
        let at = self.parts.partition_point(|other| other.start < start);
        if self.parts.get(at).is_some_and(|other| other.is_same(&part)) {
            return Added::Duplicate;
        }
        let before = at.checked_sub(1).and_then(|before| self.parts.get(before));
        let overlaps = before.is_some_and(|before| before.end > start)
            || self.parts.get(at).is_some_and(|after| after.start < part.end);
        if overlaps || !self.ends_well(info, part.end) || self.parts.len() >= max_parts {
            return Added::Overlapping;
        }
        if !info.more {
            self.len = Some(part.end);
        }
        self.received += part.end - part.start;
        self.parts.insert(at, part);
        if self.len == Some(self.received) { Added::Complete } else { Added::Kept }
    }

    /// The whole packet; `None` where it is no valid one.
    pub(super) fn join(self) -> Option<Packet> {
        let first = &self.parts.first()?.packet;
        let mut octets = whole_head(first, self.received);
        octets.reserve(self.received);
        for slice in self.parts.iter().flat_map(|part| part.packet.body()) {
            octets.extend_from_slice(slice);
        }
        let whole = Packet::parse(octets.freeze()).ok()?;
        // A fragment within fragments is nothing that a host sends.
        (!matches!(whole.transport(), Transport::Fragment(_))).then_some(whole)
    }

    /// Whether a fragment agrees with the others about where the packet ends.
    fn ends_well(&self, info: FragmentInfo, end: usize) -> bool {
        let last_end = self.parts.last().map_or(0, |part| part.end);
        match self.len {
            Some(len) if info.more => end <= len,
            Some(_) => false,
            None => info.more || last_end <= end,
        }
    }
}

impl Part {
    fn is_same(&self, other: &Self) -> bool {
        let octets = |part: &Self| part.packet.body().concat();
        (self.start, self.end) == (other.start, other.end) && octets(self) == octets(other)
    }
}

/// Whether a packet can be as long as this part of it says.
pub(super) fn fits(packet: &Packet, info: FragmentInfo) -> bool {
    let end = usize::from(info.offset) + packet.payload_len();
    let header_len = packet.ip().header_len();
    match packet.ip().version() {
        Version::V4 => header_len + end <= MAX_LEN,
        Version::V6 => header_len - ipv6::HEADER_LEN - ipv6::FRAGMENT_LEN + end <= MAX_LEN,
    }
}

/// The IP header of the whole packet, made of the first fragment's.
fn whole_head(first: &Packet, payload_len: usize) -> BytesMut {
    match first.ip().version() {
        Version::V4 => {
            let mut head = BytesMut::from(first.head().as_ref());
            let Transport::Fragment(info) = first.transport() else { return head };
            ipv4::set_fragment(&mut head, FragmentInfo { offset: 0, more: false, ..info });
            let header_len = head.len();
            ipv4::set_total_len(&mut head, header_len + payload_len);
            head
        }
        Version::V6 => ipv6::without_fragment_header(first.head(), payload_len),
    }
}
