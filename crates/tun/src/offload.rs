//! The virtio-net header that stands before each packet when offload is on.
//!
//! It says what one side left to the other: a checksum that is only begun, and a super-segment
//! that is still to be cut (virtio 1.3 §5.1.6, in its 10-byte form and the host's byte order).

use std::num::NonZeroU16;

use pseudotcp_packet::{Checksum, Packet, Transport};

/// Bytes of the header.
pub(crate) const HEADER_LEN: usize = 10;

/// The header in its wire form.
pub(crate) type HeaderBytes = [u8; HEADER_LEN];

/// What the kernel does for us on packets that we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offload {
    /// It cuts super-datagrams too (Linux 6.2 and later); TCP it always cuts.
    pub(crate) udp: bool,
}

/// The fields of the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VirtioHeader {
    flags: u8,
    kind: u8,
    header_len: u16,
    segment_size: u16,
    checksum_start: u16,
    checksum_offset: u16,
}

const NEEDS_CHECKSUM: u8 = 1;
const DATA_VALID: u8 = 2;

const KIND_NONE: u8 = 0;
const KIND_TCP_V4: u8 = 1;
const KIND_TCP_V6: u8 = 4;
const KIND_UDP: u8 = 5;
const KIND_ECN: u8 = 0x80;

/// Where the checksum stands in a TCP header (RFC 9293 §3.1) and in a UDP header (RFC 768).
const TCP_CHECKSUM_OFFSET: u16 = 16;
const UDP_CHECKSUM_OFFSET: u16 = 6;

/// The most datagrams in one super-datagram that every kernel with this offload takes.
const MAX_DATAGRAMS: usize = 64;

impl VirtioHeader {
    /// Describes a packet that shall leave; `None` when the kernel could not do what it needs, so
    /// that it must be cut and completed in software first.
    pub(crate) fn of(packet: &Packet, offload: Offload) -> Option<Self> {
        match packet.checksum() {
            Checksum::Partial => Self::unfinished(packet, offload),
            Checksum::Complete | Checksum::Vouched => {
                packet.segment_size().is_none().then(Self::default)
            }
        }
    }

    /// The header of a packet whose checksum is the pseudo-header's sum only.
    fn unfinished(packet: &Packet, offload: Offload) -> Option<Self> {
        let (kind, checksum_offset) = match packet.transport() {
            Transport::Tcp(_) if packet.ip().source().is_ipv6() => {
                (KIND_TCP_V6, TCP_CHECKSUM_OFFSET)
            }
            Transport::Tcp(_) => (KIND_TCP_V4, TCP_CHECKSUM_OFFSET),
            Transport::Udp(_) => (KIND_UDP, UDP_CHECKSUM_OFFSET),
            _ => return None,
        };
        let whole = Self {
            flags: NEEDS_CHECKSUM,
            checksum_start: u16::try_from(packet.ip().header_len()).ok()?,
            checksum_offset,
            ..Self::default()
        };
        let Some(size) = packet.segment_size().filter(|size| is_longer(packet, *size)) else {
            return Some(whole);
        };
        if kind == KIND_UDP && !(offload.udp && fits_datagrams(packet, size)) {
            return None;
        }
        let header_len = u16::try_from(packet.head().len()).ok()?;
        Some(Self { kind, header_len, segment_size: size.get(), ..whole })
    }

    /// What the kernel says about a packet that it handed over: the state of the checksum, and the
    /// size of the segments where it is several. `None` for kinds that were never asked for.
    pub(crate) fn meaning(self) -> Option<(Checksum, Option<NonZeroU16>)> {
        let checksum = if self.flags & NEEDS_CHECKSUM != 0 {
            Checksum::Partial
        } else if self.flags & DATA_VALID != 0 {
            Checksum::Vouched
        } else {
            Checksum::Complete
        };
        match self.kind & !KIND_ECN {
            KIND_NONE => Some((checksum, None)),
            KIND_TCP_V4 | KIND_TCP_V6 | KIND_UDP => {
                Some((checksum, Some(NonZeroU16::new(self.segment_size)?)))
            }
            _ => None,
        }
    }

    pub(crate) fn encode(self) -> HeaderBytes {
        let [h0, h1] = self.header_len.to_ne_bytes();
        let [s0, s1] = self.segment_size.to_ne_bytes();
        let [c0, c1] = self.checksum_start.to_ne_bytes();
        let [o0, o1] = self.checksum_offset.to_ne_bytes();
        [self.flags, self.kind, h0, h1, s0, s1, c0, c1, o0, o1]
    }

    pub(crate) fn decode(bytes: HeaderBytes) -> Self {
        let [flags, kind, h0, h1, s0, s1, c0, c1, o0, o1] = bytes;
        Self {
            flags,
            kind,
            header_len: u16::from_ne_bytes([h0, h1]),
            segment_size: u16::from_ne_bytes([s0, s1]),
            checksum_start: u16::from_ne_bytes([c0, c1]),
            checksum_offset: u16::from_ne_bytes([o0, o1]),
        }
    }
}

/// Whether the packet is really more than one segment of this size.
fn is_longer(packet: &Packet, size: NonZeroU16) -> bool {
    packet.payload_len() > usize::from(size.get())
}

fn fits_datagrams(packet: &Packet, size: NonZeroU16) -> bool {
    packet.payload_len() <= usize::from(size.get()) * MAX_DATAGRAMS
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use bytes::Bytes;
    use proptest::prelude::*;
    use pseudotcp_packet::build::{TcpSegment, datagram};
    use pseudotcp_packet::{FlowKey, Protocol, SeqNumber, TcpFlags, TcpOptions};

    use super::*;

    const ALL: Offload = Offload { udp: true };
    const TCP_ONLY: Offload = Offload { udp: false };

    fn address(host: &str) -> SocketAddr {
        host.parse().unwrap()
    }

    fn segment(from: &str, to: &str, len: usize, segment_size: u16) -> Packet {
        TcpSegment {
            flow: FlowKey::new(Protocol::Tcp, address(from), address(to)),
            seq: SeqNumber::new(1),
            ack: Some(SeqNumber::new(2)),
            flags: TcpFlags::PSH,
            window: 1_000,
            options: TcpOptions::default(),
            segment_size: NonZeroU16::new(segment_size),
        }
        .build(Bytes::from(vec![7; len]))
    }

    fn super_datagram(len: usize, segment_size: u16) -> Packet {
        let payload = Bytes::from(vec![7; len]);
        let (from, to) = (address("10.0.0.1:1"), address("10.0.0.2:2"));
        datagram(from, to, payload, NonZeroU16::new(segment_size)).unwrap()
    }

    #[test]
    fn a_tcp_super_segment_is_left_to_the_kernel() {
        let v4 = segment("10.0.0.1:1", "10.0.0.2:2", 5_000, 1_400);
        let header = VirtioHeader::of(&v4, TCP_ONLY).unwrap();
        let expected = VirtioHeader {
            flags: NEEDS_CHECKSUM,
            kind: KIND_TCP_V4,
            header_len: 40,
            segment_size: 1_400,
            checksum_start: 20,
            checksum_offset: 16,
        };
        assert_eq!(header, expected);
        let v6 = segment("[fd00::1]:1", "[fd00::2]:2", 5_000, 1_400);
        let header = VirtioHeader::of(&v6, TCP_ONLY).unwrap();
        let expected =
            VirtioHeader { kind: KIND_TCP_V6, header_len: 60, checksum_start: 40, ..expected };
        assert_eq!(header, expected);
    }

    #[test]
    fn a_single_segment_only_lacks_its_checksum() {
        let packet = segment("10.0.0.1:1", "10.0.0.2:2", 1_400, 1_400);
        let header = VirtioHeader::of(&packet, ALL).unwrap();
        assert_eq!(header.meaning(), Some((Checksum::Partial, None)));
        assert_eq!((header.checksum_start, header.checksum_offset), (20, 16));
    }

    #[test]
    fn a_complete_packet_needs_nothing() {
        let packet = segment("10.0.0.1:1", "10.0.0.2:2", 100, 0).segments().next().unwrap();
        assert_eq!(packet.checksum(), Checksum::Complete);
        assert_eq!(VirtioHeader::of(&packet, ALL), Some(VirtioHeader::default()));
    }

    #[test]
    fn super_datagrams_are_cut_in_software_where_the_kernel_cannot() {
        let packet = super_datagram(3_000, 1_000);
        assert_eq!(VirtioHeader::of(&packet, TCP_ONLY), None);
        let header = VirtioHeader::of(&packet, ALL).unwrap();
        assert_eq!((header.kind, header.segment_size), (KIND_UDP, 1_000));
        let many = super_datagram(65 * 100, 100);
        assert_eq!(VirtioHeader::of(&many, ALL), None, "more than 64 datagrams");
    }

    #[test]
    fn unknown_kinds_and_a_segment_size_of_zero_have_no_meaning() {
        let ufo = VirtioHeader { kind: 3, segment_size: 1_000, ..VirtioHeader::default() };
        assert_eq!(ufo.meaning(), None);
        let zero = VirtioHeader { kind: KIND_TCP_V4, ..VirtioHeader::default() };
        assert_eq!(zero.meaning(), None);
    }

    #[test]
    fn the_ecn_mark_does_not_change_the_kind() {
        let kind = KIND_TCP_V4 | KIND_ECN;
        let header = VirtioHeader { kind, segment_size: 9, ..VirtioHeader::default() };
        assert_eq!(header.meaning(), Some((Checksum::Complete, NonZeroU16::new(9))));
    }

    #[test]
    fn vouched_checksums_are_told_apart() {
        let header = VirtioHeader { flags: DATA_VALID, ..VirtioHeader::default() };
        assert_eq!(header.meaning(), Some((Checksum::Vouched, None)));
    }

    proptest! {
        #[test]
        fn every_header_survives_the_wire(bytes: HeaderBytes) {
            prop_assert_eq!(VirtioHeader::decode(bytes).encode(), bytes);
        }
    }
}
