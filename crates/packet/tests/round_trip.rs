//! What is built and cut is what is parsed.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use bytes::Bytes;
use proptest::prelude::*;
use pseudotcp_packet::build::{TcpSegment, datagram, echo_reply};
use pseudotcp_packet::{
    Body, Checksum, FlowKey, Packet, Protocol, Quote, SackBlocks, SeqNumber, TcpFlags, TcpHeader,
    TcpOptions, Timestamps, Transport, Unreachable,
};

/// The two ends of a flow, both of one IP version, each a single host.
fn any_ends() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let host = (1..=126u8, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| IpAddr::from([a, b, c, d]));
    let v4 = [host.clone(), host];
    let v6 = any::<[[u8; 15]; 2]>().prop_map(|hosts| {
        hosts.map(|rest| {
            let mut octets = [0x20; 16];
            octets[1..].copy_from_slice(&rest);
            IpAddr::from(octets)
        })
    });
    (prop_oneof![v4, v6], any::<[u16; 2]>()).prop_map(|([from, to], [source, destination])| {
        (SocketAddr::new(from, source), SocketAddr::new(to, destination))
    })
}

fn any_body(max: usize) -> impl Strategy<Value = Body> {
    let slice = prop::collection::vec(any::<u8>(), 0..max / 8).prop_map(Bytes::from);
    prop::collection::vec(slice, 0..8).prop_map(Body::from_iter)
}

prop_compose! {
    fn any_options()(
        mss: Option<u16>,
        window_scale in prop::option::of(0..=14u8),
        timestamps: Option<(u32, u32)>,
        sack: Option<(u32, u32)>,
    ) -> TcpOptions {
        let sack = sack.map(|(a, b)| (SeqNumber::new(a), SeqNumber::new(b)));
        TcpOptions {
            mss,
            window_scale,
            sack_permitted: mss.is_some(),
            timestamps: timestamps.map(Timestamps::from),
            sack: SackBlocks::from_iter(sack),
        }
    }
}

prop_compose! {
    fn any_segment()(
        (source, destination) in any_ends(),
        seq: u32,
        ack: Option<u32>,
        flags: u8,
        window: u16,
        options in any_options(),
        segment_size in prop::option::of(1..2_000u16),
    ) -> TcpSegment {
        TcpSegment {
            flow: FlowKey::new(Protocol::Tcp, source, destination),
            seq: SeqNumber::new(seq),
            ack: ack.map(SeqNumber::new),
            flags: TcpFlags::from(flags).without(TcpFlags::ACK),
            window,
            options,
            segment_size: segment_size.and_then(NonZeroU16::new),
        }
    }
}

fn tcp(packet: &Packet) -> TcpHeader<'_> {
    match packet.transport() {
        Transport::Tcp(tcp) => tcp,
        other => panic!("not TCP: {other:?}"),
    }
}

/// Sends a packet over the wire.
fn received(packet: &Packet) -> Packet {
    assert_eq!((packet.checksum(), packet.segment_size()), (Checksum::Complete, None));
    Packet::parse(packet.to_bytes()).unwrap()
}

#[test]
fn identifications_count_the_pieces() {
    let ends = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    let whole = datagram(ends.0, ends.1, vec![7; 2_500].into(), NonZeroU16::new(1_000)).unwrap();
    let pieces: Vec<_> = whole.segments().map(|piece| received(&piece).to_bytes()).collect();
    let header = |piece: &Bytes| (piece.len(), u16::from_be_bytes([piece[4], piece[5]]));
    assert_eq!(pieces.iter().map(header).collect::<Vec<_>>(), [(1_028, 0), (1_028, 1), (528, 2)]);
}

proptest! {
    #[test]
    fn a_segment_says_what_was_built(segment in any_segment(), body in any_body(2_000)) {
        let segment = TcpSegment { segment_size: None, ..segment };
        let packet = received(&segment.build(body.clone()).segments().next().unwrap());
        let header = tcp(&packet);
        prop_assert_eq!(packet.flow(), Some(segment.flow));
        prop_assert_eq!(header.seq(), segment.seq);
        prop_assert_eq!(header.ack(), segment.ack.unwrap_or_default());
        prop_assert_eq!(header.flags().contains(TcpFlags::ACK), segment.ack.is_some());
        prop_assert_eq!(header.flags().without(TcpFlags::ACK), segment.flags);
        prop_assert_eq!(header.window(), segment.window);
        prop_assert_eq!(header.options(), segment.options);
        prop_assert_eq!(packet.body().concat(), body.concat());
    }

    #[test]
    fn a_super_segment_is_cut_without_a_gap(segment in any_segment(), body in any_body(9_000)) {
        let whole = segment.build(body.clone());
        let size = whole.segment_size().map_or(usize::MAX, |size| size.get().into());
        let pieces: Vec<_> = whole.segments().map(|piece| received(&piece)).collect();
        let mut next = segment.seq;
        for (i, piece) in pieces.iter().enumerate() {
            let (header, last) = (tcp(piece), i + 1 == pieces.len());
            prop_assert_eq!(header.seq(), next);
            prop_assert!(last || piece.payload_len() == size);
            next = next.advance(u32::try_from(piece.payload_len()).unwrap());

            let only_last = TcpFlags::FIN | TcpFlags::PSH;
            let expected = if last { header.flags() } else { header.flags().without(only_last) };
            prop_assert_eq!(header.flags(), expected);
            let cwr = segment.flags.contains(TcpFlags::CWR) && i == 0;
            prop_assert_eq!(header.flags().contains(TcpFlags::CWR), cwr);
        }
        let flags = tcp(pieces.last().unwrap()).flags();
        prop_assert_eq!(flags.contains(TcpFlags::FIN), segment.flags.contains(TcpFlags::FIN));
        let payload: Vec<u8> = pieces.iter().flat_map(|piece| piece.body().concat()).collect();
        prop_assert_eq!(payload, body.concat());
    }

    #[test]
    fn a_super_datagram_is_cut_into_datagrams(
        (source, destination) in any_ends(),
        payload in prop::collection::vec(any::<u8>(), 0..9_000),
        size in 1..1_500u16,
    ) {
        let whole = datagram(source, destination, payload.clone().into(), NonZeroU16::new(size));
        let pieces: Vec<_> = whole.unwrap().segments().map(|piece| received(&piece)).collect();
        let flow = FlowKey::new(Protocol::Udp, source, destination);
        prop_assert!(pieces.iter().all(|piece| piece.flow() == Some(flow)));
        prop_assert_eq!(pieces.len(), payload.len().div_ceil(size.into()).max(1));
        prop_assert_eq!(pieces.iter().flat_map(|p| p.body().concat()).collect::<Vec<_>>(), payload);
    }

    #[test]
    fn offloaded_input_is_what_the_segmenter_completes(
        segment in any_segment(), body in any_body(9_000)
    ) {
        let whole = segment.build(body);
        let size = whole.segment_size();
        let read = Packet::parse_offloaded(whole.to_bytes(), Checksum::Partial, size).unwrap();
        prop_assert_eq!(read.segment_size(), size);
        let wire = |packet: &Packet| packet.segments().map(|p| p.to_bytes()).collect::<Vec<_>>();
        prop_assert_eq!(wire(&read), wire(&whole));
    }

    #[test]
    fn a_changed_octet_of_the_payload_is_noticed(
        segment in any_segment(), payload in prop::collection::vec(any::<u8>(), 1..100), at: usize
    ) {
        let packet = TcpSegment { segment_size: None, ..segment }.build(Bytes::from(payload));
        let mut wire = packet.segments().next().unwrap().to_bytes().to_vec();
        let at = packet.head().len() + at % packet.payload_len();
        wire[at] ^= 0x40;
        prop_assert!(Packet::parse(wire.into()).is_err());
    }

    #[test]
    fn errors_quote_what_arrived(segment in any_segment(), body in any_body(4_000)) {
        let packet = received(&TcpSegment { segment_size: None, ..segment }
            .build(body).segments().next().unwrap());
        let quote = Quote::of(&packet).unwrap();
        let largest = if segment.flow.is_ipv6() { 1_280 } else { 576 };
        for error in [quote.unreachable(Unreachable::Port), quote.too_big(1_280)] {
            let error = received(&error);
            let quoted = error.body().concat();
            prop_assert!(error.total_len() <= largest);
            prop_assert_eq!(error.ip().destination(), packet.ip().source());
            prop_assert_eq!(&quoted[..], &packet.to_bytes()[..quoted.len()]);
            prop_assert!(quoted.len() >= packet.ip().header_len() + 8);
            prop_assert!(echo_reply(&error).is_none() && Quote::of(&error).is_none());
        }
    }
}
