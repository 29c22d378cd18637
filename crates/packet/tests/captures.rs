//! Packets that a Linux kernel sent into a TUN device, octet for octet.

use bytes::Bytes;
use pseudotcp_packet::{
    Checksum, Ecn, FragmentInfo, Packet, ParseError, Protocol, Quote, SeqNumber, TcpFlags,
    TcpOptions, Timestamps, Transport, Unreachable, Version,
};

const SYN_V4: &str = "4500003cfbe1400040062ac60a0900010a090002ad6200504757143700000000a002faf0\
    54eb0000020405b40402080ac01f1aac000000000103030a";
const SYN_V6: &str = "60014bd500280640fd090000000000000000000000000001fd0900000000000000000000\
    00000002ddca00504b0accd900000000a002fd2007fa0000020405a00402080a4e0704da000000000103030a";
const UDP_V4: &str = "4500001f607440004011c6450a0900010a0900029ecf0050000b793f6f6464";
const UDP_V4_OPTIONS: &str =
    "47000027610d40004011aa930a0900010a0900020707080a09000100bb1f0009000b4d2a6f7074";
const UDP_V6_DESTINATION_OPTIONS: &str = "6008c29f00133c40fd090000000000000000000000000001fd0900\
    00000000000000000000000002\
    1100010400000000aa090009000b8236657874";
const ROUTER_SOLICITATION: &str = "6000000000083afffe80000000000000640d5c43af01c44eff020000000000\
    0000000000000000028500499600000000";
const FIRST_FRAGMENT_V4: &str = "450005dc60b220004011e04a0a0900010a0900029ecf00500648dac2";
const LAST_FRAGMENT_V4: &str = "4500009460b200b9401104da0a0900010a090002";
const FIRST_FRAGMENT_V6: &str = "600d1c9c05b02c40fd090000000000000000000000000001fd09000000000000\
    000000000000000211000001d2f0a96ab03700500648e358";
const LAST_FRAGMENT_V6: &str = "600d1c9c00a82c40fd090000000000000000000000000001fd0900000000000000\
    00000000000002110005a8d2f0a96a";

fn hex(text: &str) -> Vec<u8> {
    let octet = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(octet).collect()
}

fn parse(text: &str) -> Packet {
    Packet::parse(hex(text).into()).unwrap()
}

/// The captured datagrams of 1,600 octets count to seven over and over.
fn with_payload(head: &str, range: std::ops::Range<usize>) -> Packet {
    let payload = range.map(|i| u8::try_from(i % 7).unwrap());
    Packet::parse(hex(head).into_iter().chain(payload).collect()).unwrap()
}

#[test]
fn syn_over_ipv4() {
    let packet = parse(SYN_V4);
    let Transport::Tcp(tcp) = packet.transport() else { panic!("{packet}") };
    assert_eq!(tcp.seq(), SeqNumber::new(0x4757_1437));
    assert_eq!((tcp.flags(), tcp.window(), tcp.urgent_pointer()), (TcpFlags::SYN, 64_240, 0));
    let expected = TcpOptions {
        mss: Some(1_460),
        window_scale: Some(10),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 0xc01f_1aac, echo: 0 }),
        ..TcpOptions::default()
    };
    assert_eq!(tcp.options(), expected);
    assert_eq!((packet.head().len(), packet.payload_len(), tcp.header_len()), (60, 0, 40));
    let ip = packet.ip();
    assert_eq!((ip.version(), ip.hop_limit(), ip.ecn()), (Version::V4, 64, Ecn::NotEct));
    assert!(ip.dont_fragment());
    assert_eq!(
        packet.to_string(),
        "10.9.0.1:44386 > 10.9.0.2:80: tcp S seq 1196889143 win 64240 mss 1460 wscale 10 sackOK \
         ts 3223263916/0 len 0"
    );
}

#[test]
fn syn_over_ipv6() {
    let packet = parse(SYN_V6);
    assert_eq!(packet.flow().unwrap().to_string(), "tcp [fd09::1]:56778 > [fd09::2]:80");
    assert_eq!((packet.ip().version(), packet.ip().header_len()), (Version::V6, 40));
}

#[test]
fn datagrams_with_and_without_ip_options() {
    assert_eq!(parse(UDP_V4).to_string(), "10.9.0.1:40655 > 10.9.0.2:80: udp len 3");
    let packet = parse(UDP_V4_OPTIONS);
    assert_eq!((packet.ip().header_len(), packet.body().concat()), (28, b"opt".to_vec()));
    let packet = parse(UDP_V6_DESTINATION_OPTIONS);
    assert_eq!((packet.ip().header_len(), packet.body().concat()), (48, b"ext".to_vec()));
    assert_eq!((packet.ip().protocol(), packet.head().len()), (Protocol::Udp, 56));
}

#[test]
fn multicast_icmpv6_is_never_answered() {
    let packet = parse(ROUTER_SOLICITATION);
    let Transport::Icmpv6(icmp) = packet.transport() else { panic!("{packet}") };
    assert_eq!((icmp.kind(), icmp.code(), icmp.rest()), (133, 0, 0));
    assert!(Quote::of(&packet).is_none());
}

#[test]
fn d24_fragments_are_no_whole_packets() {
    let first = with_payload(FIRST_FRAGMENT_V4, 0..1_472);
    let last = with_payload(LAST_FRAGMENT_V4, 1_472..1_600);
    let fragment = |packet: &Packet| match packet.transport() {
        Transport::Fragment(info) => info,
        other => panic!("{other:?}"),
    };
    let identification = 0x60b2;
    assert_eq!(fragment(&first), FragmentInfo { identification, offset: 0, more: true });
    assert_eq!(fragment(&last), FragmentInfo { identification, offset: 1_480, more: false });
    assert!(first.flow().is_none() && last.flow().is_none());
    assert_eq!((first.head().len(), first.payload_len()), (20, 1_480));
    assert_eq!(first.ip().protocol(), Protocol::Udp);
    assert!(Quote::of(&first).is_some() && Quote::of(&last).is_none());

    let first = with_payload(FIRST_FRAGMENT_V6, 0..1_440);
    let last = with_payload(LAST_FRAGMENT_V6, 1_440..1_600);
    let identification = 0xd2f0_a96a;
    assert_eq!(fragment(&first), FragmentInfo { identification, offset: 0, more: true });
    assert_eq!(fragment(&last), FragmentInfo { identification, offset: 1_448, more: false });
    assert_eq!((last.head().len(), last.payload_len()), (48, 160));
    assert_eq!((last.ip().protocol(), last.ip().header_len()), (Protocol::Udp, 48));
}

#[test]
fn d24_every_changed_octet_is_noticed() {
    for text in [SYN_V4, SYN_V6, UDP_V4, UDP_V4_OPTIONS, ROUTER_SOLICITATION] {
        let octets = hex(text);
        // IPv6 has no header checksum: traffic class, flow label and hop limit go unnoticed.
        let from = if octets[0] >> 4 == 6 { 8 } else { 0 };
        for at in from..octets.len() {
            let mut changed = octets.clone();
            changed[at] ^= 0x10;
            assert!(Packet::parse(changed.into()).is_err(), "octet {at} of {text}");
        }
    }
}

#[test]
fn d24_offloaded_checksums_are_not_verified() {
    let mut octets = hex(SYN_V4);
    octets[36] ^= 0xFF;
    let octets = Bytes::from(octets);
    assert_eq!(Packet::parse(octets.clone()).unwrap_err(), ParseError::TransportChecksum);
    for checksum in [Checksum::Partial, Checksum::Vouched] {
        let packet = Packet::parse_offloaded(octets.clone(), checksum, None).unwrap();
        assert_eq!(packet.checksum(), checksum);
        let completed = packet.segments().next().unwrap();
        assert_eq!(completed.to_bytes(), hex(SYN_V4));
    }
}

#[test]
fn d11_every_shortened_packet_is_refused() {
    for text in [SYN_V4, SYN_V6, UDP_V4_OPTIONS, UDP_V6_DESTINATION_OPTIONS] {
        let octets = Bytes::from(hex(text));
        for len in 0..octets.len() {
            assert!(Packet::parse(octets.slice(..len)).is_err(), "{len} octets of {text}");
        }
    }
}

#[test]
fn padding_behind_the_packet_is_cut_off() {
    for text in [SYN_V4, SYN_V6, UDP_V4] {
        let padded: Bytes = hex(text).into_iter().chain([0xAA; 9]).collect();
        assert_eq!(Packet::parse(padded).unwrap().to_bytes(), hex(text));
    }
}

#[test]
fn d30_a_quote_has_the_whole_ip_header() {
    for text in [UDP_V4_OPTIONS, UDP_V6_DESTINATION_OPTIONS] {
        let packet = parse(text);
        let error = Quote::of(&packet).unwrap().unreachable(Unreachable::Port);
        assert_eq!(error.body().concat(), hex(text));
        assert_eq!(error.ip().source(), packet.ip().destination());
        Packet::parse(error.to_bytes()).unwrap();
    }
}

#[test]
fn an_unknown_protocol_is_pointed_at() {
    let packet = parse(UDP_V6_DESTINATION_OPTIONS);
    let error = Quote::of(&packet).unwrap().unreachable(Unreachable::Protocol);
    let Transport::Icmpv6(icmp) = error.transport() else { panic!("{error}") };
    // The first octet of the destination options names UDP.
    assert_eq!((icmp.kind(), icmp.code(), icmp.rest()), (4, 1, 40));
}
