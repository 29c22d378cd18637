//! What nobody honest sends: an error or a packet, never a panic.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use pseudotcp_packet::build::{TcpSegment, datagram, echo_reply};
use pseudotcp_packet::checksum::Sum;
use pseudotcp_packet::{
    Checksum, FlowKey, Packet, ParseError, Protocol, Quote, SeqNumber, TcpFlags, TcpOptions,
    Timestamps, Transport, Unreachable,
};

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn segment(source: &str, destination: &str) -> TcpSegment {
    TcpSegment {
        flow: FlowKey::new(Protocol::Tcp, at(source), at(destination)),
        seq: SeqNumber::new(7),
        ack: None,
        flags: TcpFlags::SYN,
        window: 9,
        options: TcpOptions { timestamps: Some(Timestamps::default()), ..<_>::default() },
        segment_size: None,
    }
}

fn wire(packet: &Packet) -> BytesMut {
    BytesMut::from(packet.segments().next().unwrap().to_bytes())
}

/// Puts the IPv4 header checksum right again after a change.
fn seal(octets: &mut [u8]) {
    let header_len = (usize::from(octets[0] & 15) * 4).clamp(20, octets.len());
    octets[10..12].fill(0);
    let checksum = Sum::default().with(&octets[..header_len]).checksum();
    octets[10..12].copy_from_slice(&checksum.to_be_bytes());
}

fn parse_vouched(octets: &[u8]) -> Result<Packet, ParseError> {
    Packet::parse_offloaded(Bytes::copy_from_slice(octets), Checksum::Vouched, None)
}

#[test]
fn d11_wild_lengths_are_refused() {
    let syn = wire(&segment("10.0.0.1:1", "10.0.0.2:2").build(Bytes::new()));
    let refused = |at: usize, octet: u8| {
        let mut octets = syn.clone();
        octets[at] = octet;
        seal(&mut octets);
        parse_vouched(&octets).unwrap_err()
    };
    assert_eq!(refused(0, 0x44), ParseError::IpLength, "header length of four words");
    assert_eq!(refused(0, 0x4F), ParseError::IpLength, "header longer than the packet");
    assert_eq!(refused(3, 19), ParseError::IpLength, "total length less than the header");
    assert_eq!(refused(3, 200), ParseError::IpLength, "total length more than there is");
    assert_eq!(refused(3, 39), ParseError::TransportLength, "19 octets of TCP");
    assert_eq!(refused(32, 0x40), ParseError::TcpDataOffset, "data offset of four words");
    assert_eq!(refused(32, 0xF0), ParseError::TcpDataOffset, "data offset past the end");
    assert_eq!(refused(43, 0), ParseError::TcpOptionLength, "option of length zero");
    assert_eq!(refused(43, 11), ParseError::TcpOptionLength, "option past the end");
    assert_eq!(refused(0, 0x55), ParseError::Version, "version five");
}

#[test]
fn lengths_of_datagrams_must_fit() {
    let whole = datagram(at("10.0.0.1:1"), at("10.0.0.2:2"), Bytes::from_static(b"12345"), None);
    let octets = wire(&whole.unwrap());
    let with_length = |len: u8| {
        let mut octets = octets.clone();
        octets[25] = len;
        parse_vouched(&octets)
    };
    assert_eq!(with_length(7).unwrap_err(), ParseError::UdpLength);
    assert_eq!(with_length(14).unwrap_err(), ParseError::UdpLength);
    // RFC 9868 lets options follow; they are cut off, and the IP header agrees.
    let shorter = with_length(11).unwrap();
    assert_eq!((shorter.body().concat(), shorter.total_len()), (b"123".to_vec(), 31));
    assert_eq!(Packet::parse(wire(&shorter).freeze()).unwrap().payload_len(), 3);
}

#[test]
fn d24_a_datagram_without_checksum_is_for_ipv4_only() {
    let without_checksum = |source, destination, offset: usize| {
        let packet = datagram(at(source), at(destination), Bytes::from_static(b"x"), None);
        let mut octets = wire(&packet.unwrap());
        octets[offset..offset + 2].fill(0);
        Packet::parse(octets.freeze()).map(drop)
    };
    assert_eq!(without_checksum("10.0.0.1:1", "10.0.0.2:2", 26), Ok(()));
    assert_eq!(
        without_checksum("[fd00::1]:1", "[fd00::2]:2", 46),
        Err(ParseError::TransportChecksum)
    );
}

#[test]
fn d27_a_computed_zero_is_sent_as_all_ones() {
    let send = |payload: [u8; 2]| {
        let payload = Bytes::copy_from_slice(&payload);
        wire(&datagram(at("10.0.0.1:1"), at("10.0.0.2:2"), payload, None).unwrap())
    };
    let checksum = |octets: &[u8]| [octets[26], octets[27]];
    // A payload equal to the checksum without it makes the sum all ones, the checksum zero.
    let octets = send(checksum(&send([0, 0])));
    assert_eq!(checksum(&octets), [0xFF, 0xFF]);
    Packet::parse(octets.freeze()).unwrap();
}

#[test]
fn a_fragment_must_end_within_a_packet() {
    let mut octets = wire(&segment("10.0.0.1:1", "10.0.0.2:2").build(Bytes::new()));
    octets[6..8].copy_from_slice(&[0x1F, 0xFF]);
    seal(&mut octets);
    assert_eq!(parse_vouched(&octets).unwrap_err(), ParseError::FragmentOffset);
}

#[test]
fn a_long_chain_of_extension_headers_ends_the_walk() {
    let chain = |links: usize| {
        let mut octets = vec![0x60, 0, 0, 0, 0, u8::try_from(links * 8).unwrap(), 60, 64];
        octets.extend_from_slice(&[0x20; 32]);
        (1..links).for_each(|_| octets.extend_from_slice(&[60, 0, 0, 0, 0, 0, 0, 0]));
        octets.extend_from_slice(&[59, 0, 0, 0, 0, 0, 0, 0]);
        Packet::parse(octets.into())
    };
    assert_eq!(chain(8).unwrap().ip().protocol(), Protocol::Other(59));
    assert_eq!(chain(9).unwrap_err(), ParseError::ExtensionHeaders);
    assert_eq!(chain(30).unwrap_err(), ParseError::ExtensionHeaders);
}

#[test]
fn an_atomic_fragment_is_a_whole_packet() {
    let packet = segment("[fd00::1]:1", "[fd00::2]:2").build(Bytes::from_static(b"abc"));
    let mut octets = wire(&packet).to_vec();
    octets[5] += 8;
    octets[6] = 44;
    octets.splice(40..40, [6, 0, 0, 0, 1, 2, 3, 4]);
    let packet = Packet::parse(octets.into()).unwrap();
    assert!(matches!(packet.transport(), Transport::Tcp(_)), "{packet}");
    assert_eq!(packet.ip().header_len(), 48);
}

#[test]
fn what_cannot_be_cut_has_no_segment_size() {
    let size = std::num::NonZeroU16::new(2);
    let quoted = segment("10.0.0.1:1", "10.0.0.2:2").build(Bytes::new());
    let error = Quote::of(&quoted).unwrap().unreachable(Unreachable::Host).to_bytes();
    assert_eq!(
        Packet::parse_offloaded(error, Checksum::Complete, size).unwrap_err(),
        ParseError::NotSegmentable
    );
    let small = segment("10.0.0.1:1", "10.0.0.2:2").build(Bytes::from_static(b"ab"));
    let small = Packet::parse_offloaded(small.to_bytes(), Checksum::Partial, size).unwrap();
    assert_eq!(small.segment_size(), None);
}

#[test]
fn datagrams_travel_whole_or_not_at_all() {
    let build = |from, to, len| datagram(at(from), at(to), vec![0; len].into(), None);
    assert!(build("10.0.0.1:1", "10.0.0.2:2", 65_507).is_some());
    assert!(build("10.0.0.1:1", "10.0.0.2:2", 65_508).is_none());
    assert!(build("[fd00::1]:1", "[fd00::2]:2", 65_527).is_some());
    assert!(build("[fd00::1]:1", "[fd00::2]:2", 65_528).is_none());
    assert!(build("10.0.0.1:1", "[fd00::2]:2", 1).is_none());
}

#[test]
fn d30_no_error_goes_to_many_or_to_nobody() {
    let quotable = |source, destination| {
        Quote::of(&segment(source, destination).build(Bytes::new())).is_some()
    };
    assert!(quotable("10.0.0.1:1", "10.0.0.2:2"));
    for address in ["0.0.0.0:1", "255.255.255.255:1", "224.0.0.251:1", "240.0.0.1:1"] {
        assert!(!quotable(address, "10.0.0.2:2"), "from {address}");
        assert!(!quotable("10.0.0.1:1", address), "to {address}");
    }
    assert!(!quotable("127.0.0.1:1", "10.0.0.2:2"));
    assert!(quotable("[fd00::1]:1", "[fd00::2]:2"));
    for address in ["[::]:1", "[ff02::fb]:1"] {
        assert!(!quotable(address, "[fd00::2]:2"), "from {address}");
        assert!(!quotable("[fd00::1]:1", address), "to {address}");
    }
}

/// Asks a packet everything there is to ask.
fn interrogate(packet: &Packet) {
    let ip = packet.ip();
    assert!(ip.header_len() <= packet.head().len());
    assert_eq!(packet.to_bytes().len(), packet.total_len());
    assert!(!packet.to_string().is_empty() && !format!("{packet:?}").is_empty());
    let _ = (ip.source(), ip.destination(), ip.hop_limit(), ip.ecn(), ip.dont_fragment());
    if let Transport::Tcp(tcp) = packet.transport() {
        let _ = (tcp.seq(), tcp.ack(), tcp.window(), tcp.urgent_pointer(), tcp.options());
    }
    let answers = Quote::of(packet)
        .into_iter()
        .flat_map(|quote| [quote.unreachable(Unreachable::Protocol), quote.too_big(u32::MAX)]);
    for answer in answers.chain(echo_reply(packet)) {
        Packet::parse(answer.to_bytes()).unwrap();
    }
    for piece in packet.segments() {
        let piece = Packet::parse(piece.to_bytes()).unwrap();
        assert_eq!(piece.flow(), packet.flow());
    }
}

fn any_checksum() -> impl Strategy<Value = Checksum> {
    prop_oneof![Just(Checksum::Complete), Just(Checksum::Partial), Just(Checksum::Vouched)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_octets_never_panic(
        octets in prop::collection::vec(any::<u8>(), 0..200),
        checksum in any_checksum(),
        size: Option<std::num::NonZeroU16>,
    ) {
        if let Ok(packet) = Packet::parse_offloaded(octets.into(), checksum, size) {
            interrogate(&packet);
        }
    }

    #[test]
    fn damaged_packets_never_panic(
        ipv6: bool,
        payload in prop::collection::vec(any::<u8>(), 0..64),
        damage in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..4),
        size: Option<std::num::NonZeroU16>,
    ) {
        let ends = if ipv6 { ("[fd00::1]:1", "[fd00::2]:2") } else { ("10.0.0.1:1", "10.0.0.2:2") };
        let packet = segment(ends.0, ends.1).build(Bytes::from(payload));
        let mut octets = wire(&packet);
        for (at, octet) in damage {
            *at.get_mut(&mut octets) = octet;
        }
        if !ipv6 {
            seal(&mut octets);
        }
        if let Ok(packet) = Packet::parse_offloaded(octets.freeze(), Checksum::Vouched, size) {
            interrogate(&packet);
        }
    }

    #[test]
    fn random_payloads_of_any_protocol_never_panic(
        protocol in prop_oneof![
            Just(0u8), Just(1), Just(6), Just(17), Just(43), Just(44), Just(51), Just(58), Just(60),
            any::<u8>(),
        ],
        payload in prop::collection::vec(any::<u8>(), 0..100),
        ipv6: bool,
    ) {
        let len = u8::try_from(payload.len()).unwrap();
        let mut octets = if ipv6 {
            [&[0x60, 0, 0, 0, 0, len, protocol, 9][..], &[0x20; 32]].concat()
        } else {
            let head = [0x45, 0, 0, 20 + len, 0, 0, 0, 0, 9, protocol, 0, 0];
            [&head[..], &[10, 0, 0, 1, 10, 0, 0, 2]].concat()
        };
        octets.extend_from_slice(&payload);
        if !ipv6 {
            seal(&mut octets);
        }
        if let Ok(packet) = parse_vouched(&octets) {
            interrogate(&packet);
        }
    }
}
