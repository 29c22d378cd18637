use std::ops::Range;

use bytes::BytesMut;

use crate::body::Body;
use crate::heads::Heads;
use crate::ip::Ip;
use crate::packet::{Checksum, Kind, Packet};
use crate::{ip, ipv4, tcp, udp};

/// Cuts a super-segment into the packets of the wire, and completes checksums.
pub(crate) struct Segments<'a> {
    packet: &'a Packet,
    /// Where heads are built; without it each has memory of its own.
    heads: Option<&'a mut Heads>,
    /// Payload octets of each piece.
    size: usize,
    offset: usize,
    index: u16,
    finished: bool,
}

impl<'a> Segments<'a> {
    pub(crate) fn new(packet: &'a Packet, heads: Option<&'a mut Heads>) -> Self {
        let size = packet.segment_size().map_or(usize::MAX, |size| usize::from(size.get()));
        Self { packet, heads, size, offset: 0, index: 0, finished: false }
    }
}

impl Iterator for Segments<'_> {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        if self.finished {
            return None;
        }
        let len = self.packet.payload_len();
        let end = self.offset.saturating_add(self.size).min(len);
        let piece = Piece { octets: self.offset..end, index: self.index, last: end == len };
        self.finished = piece.last;
        self.offset = end;
        self.index = self.index.wrapping_add(1);
        Some(piece.cut(self.packet, self.heads.as_deref_mut()))
    }
}

/// One packet to be cut from a larger one.
struct Piece {
    /// Its part of the payload.
    octets: Range<usize>,
    index: u16,
    last: bool,
}

impl Piece {
    fn cut(self, packet: &Packet, heads: Option<&mut Heads>) -> Packet {
        if packet.checksum() == Checksum::Complete && packet.segment_size().is_none() {
            return packet.clone();
        }
        let len = packet.head().len();
        let mut head = heads.map_or_else(|| BytesMut::with_capacity(len), |heads| heads.room(len));
        head.extend_from_slice(packet.head());
        let body = packet.slices().slice(self.octets.clone());
        ip::set_total_len(&mut head, len + body.octets());
        if packet.segment_size().is_some() {
            self.cut_headers(&mut head, packet);
        }
        complete_checksum(&mut head, &body, packet);
        Packet::assemble(head.freeze(), body, packet.layout(), Checksum::Complete, None)
    }

    fn cut_headers(&self, head: &mut [u8], packet: &Packet) {
        if !packet.ip().source().is_ipv6() {
            ipv4::advance_identification(head, self.index);
        }
        let header = head.get_mut(packet.ip_len()..).unwrap_or_default();
        match packet.kind() {
            Kind::Tcp => tcp::cut_header(header, self.octets.start, self.last),
            Kind::Udp => udp::cut_header(header, udp::HEADER_LEN + self.octets.len()),
            _ => {}
        }
    }
}

/// Writes the transport checksum of head and body.
fn complete_checksum(head: &mut [u8], body: &Body, packet: &Packet) {
    let Some(at) = packet.kind().checksum_at() else { return };
    write_checksum(head, packet.ip_len() + at, 0);
    let header = head.get(packet.ip_len()..).unwrap_or_default();
    let ip = Ip::new(head, packet.ip_len(), packet.ip().protocol());
    let covered = packet.kind().covered(&ip, header.len() + body.octets());
    let checksum = body.iter().fold(covered.with(header), |sum, slice| sum.with(slice)).checksum();
    write_checksum(head, packet.ip_len() + at, on_the_wire(packet.kind(), checksum));
}

/// RFC 768: a computed zero is sent as all ones, as zero says that there is none.
fn on_the_wire(kind: Kind, checksum: u16) -> u16 {
    if kind == Kind::Udp && checksum == 0 { 0xFFFF } else { checksum }
}

fn write_checksum(head: &mut [u8], at: usize, checksum: u16) {
    if let Some(field) = head.get_mut(at..at + 2) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
}
