//! Errors and echoes, octet for octet.

use std::net::SocketAddr;

use bytes::Bytes;
use pseudotcp_packet::build::{TcpSegment, datagram, echo_reply};
use pseudotcp_packet::checksum::{Sum, pseudo_header};
use pseudotcp_packet::{
    Checksum, DatagramHead, ErrorCause, HeaderProblem, IcmpError, Packet, ParameterProblem, Quote,
    SeqNumber, Transport, Unreachable,
};

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// A datagram of `len` octets between two hosts of one IP version.
fn any_datagram(ipv6: bool, len: usize) -> Packet {
    let ends = if ipv6 { ("[fd00::1]:1", "[fd00::2]:2") } else { ("10.0.0.1:1", "10.0.0.2:2") };
    datagram(at(ends.0), at(ends.1), vec![0x5A; len].into(), None).unwrap()
}

fn fields(packet: &Packet) -> (u8, u8, u32) {
    match packet.transport() {
        Transport::Icmp(icmp) | Transport::Icmpv6(icmp) => (icmp.kind(), icmp.code(), icmp.rest()),
        other => panic!("{other:?}"),
    }
}

/// An echo message with an identifier, a sequence number and a payload of an odd length.
fn echo(ipv6: bool, kind: u8) -> Packet {
    let (source, destination) =
        if ipv6 { ("fd00::1", "fd00::2") } else { ("10.0.0.1", "10.0.0.2") };
    let ends = [source.parse().unwrap(), destination.parse().unwrap()];
    let mut message = vec![kind, 0, 0, 0, 0x12, 0x34, 0, 1, b'o', b'd', b'd'];
    let covered = if ipv6 { pseudo_header(ends[0], ends[1], 58, 11) } else { Sum::default() };
    let checksum = covered.with(&message).checksum();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let envelope = any_datagram(ipv6, 3).segments().next().unwrap();
    let mut octets = envelope.to_bytes()[..envelope.ip().header_len()].to_vec();
    if ipv6 {
        octets[6] = 58;
    } else {
        octets[9] = 1;
        octets[10..12].fill(0);
        let checksum = Sum::default().with(&octets).checksum();
        octets[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    octets.extend(message);
    Packet::parse(octets.into()).unwrap()
}

#[test]
fn each_cause_has_its_type_and_code() {
    let table = [
        (Unreachable::Network, (3, 0, 0), (1, 0, 0)),
        (Unreachable::Host, (3, 1, 0), (1, 3, 0)),
        (Unreachable::Protocol, (3, 2, 0), (4, 1, 6)),
        (Unreachable::Port, (3, 3, 0), (1, 4, 0)),
        (Unreachable::HostProhibited, (3, 10, 0), (1, 1, 0)),
        (Unreachable::Prohibited, (3, 13, 0), (1, 1, 0)),
    ];
    for (cause, v4, v6) in table {
        let error = |ipv6| Quote::of(&any_datagram(ipv6, 9)).unwrap().unreachable(cause);
        assert_eq!((fields(&error(false)), fields(&error(true))), (v4, v6), "{cause:?}");
    }
}

#[test]
fn too_big_tells_the_mtu() {
    let error = |ipv6, mtu| Quote::of(&any_datagram(ipv6, 9)).unwrap().too_big(mtu);
    assert_eq!(fields(&error(false, 1_400)), (3, 4, 1_400));
    assert_eq!(fields(&error(false, 70_000)), (3, 4, 65_535));
    assert_eq!(fields(&error(true, 70_000)), (2, 0, 70_000));
}

#[test]
fn an_error_is_as_long_as_it_may_be() {
    for (ipv6, len) in [(false, 576), (true, 1_280)] {
        let error = Quote::of(&any_datagram(ipv6, 2_000)).unwrap().unreachable(Unreachable::Port);
        assert_eq!(error.total_len(), len);
        assert_eq!(error.checksum(), Checksum::Complete);
        Packet::parse(error.to_bytes()).unwrap();
    }
}

#[test]
fn an_echo_comes_back_with_all_it_carried() {
    for (ipv6, request, reply) in [(false, 8, 0), (true, 128, 129)] {
        let asked = echo(ipv6, request);
        let answer = Packet::parse(echo_reply(&asked).unwrap().to_bytes()).unwrap();
        assert_eq!(fields(&answer), (reply, 0, 0x1234_0001));
        assert_eq!(answer.body(), [Bytes::from_static(b"odd")]);
        assert_eq!(answer.ip().source(), asked.ip().destination());
        assert_eq!(answer.ip().destination(), asked.ip().source());
        assert!(echo_reply(&answer).is_none(), "a reply is not answered");
    }
}

#[test]
fn questions_may_be_refused_but_errors_may_not() {
    assert!(Quote::of(&echo(false, 8)).is_some() && Quote::of(&echo(true, 128)).is_some());
    for kind in [3, 4, 5, 11, 12, 200] {
        assert!(Quote::of(&echo(false, kind)).is_none(), "type {kind}");
    }
    for kind in [1, 2, 3, 4, 100, 137] {
        assert!(Quote::of(&echo(true, kind)).is_none(), "type {kind}");
    }
}

#[test]
fn time_and_parameter_errors_have_their_types_and_codes() {
    let error = |ipv6: bool, error: fn(&Quote) -> Packet| {
        fields(&error(&Quote::of(&any_datagram(ipv6, 9)).unwrap()))
    };
    assert_eq!(error(false, Quote::reassembly_timed_out), (11, 1, 0));
    assert_eq!(error(true, Quote::reassembly_timed_out), (3, 1, 0));
    let table = [
        (ParameterProblem::Field { at: 9 }, (12, 0, 9 << 24), (4, 0, 9)),
        (ParameterProblem::Option { at: 42 }, (12, 0, 42 << 24), (4, 2, 42)),
        (ParameterProblem::HeaderChain, (12, 0, 0), (4, 3, 0)),
    ];
    for (problem, v4, v6) in table {
        let error = |ipv6| {
            let quote = Quote::of(&any_datagram(ipv6, 9)).unwrap();
            fields(&quote.parameter_problem(problem))
        };
        assert_eq!((error(false), error(true)), (v4, v6), "{problem:?}");
    }
}

#[test]
fn d30_a_head_quotes_what_the_whole_would() {
    for ipv6 in [false, true] {
        let mut head = DatagramHead::default();
        assert!(head.is_empty() && head.quote(&Bytes::new()).is_none());
        for len in [0, 9, 1_400] {
            let sent = any_datagram(ipv6, len);
            assert!(head.take(&sent));
            let payload = sent.body().concat().into();
            let (again, whole) = (head.quote(&payload).unwrap(), Quote::of(&sent).unwrap());
            let octets = |quote: Quote| quote.unreachable(Unreachable::Port).to_bytes();
            assert_eq!(octets(again), octets(whole));
            let bare = head.quote(&Bytes::new()).unwrap().unreachable(Unreachable::Port);
            assert_eq!(bare.body().concat(), sent.head()[..]);
        }
        assert!(!head.take(&echo(ipv6, if ipv6 { 128 } else { 8 })) && head.is_empty());
    }
}

/// What we sent, as the error of a host or router on its way quotes it.
fn segment(ipv6: bool) -> Packet {
    let flow = any_datagram(ipv6, 0).flow().unwrap();
    TcpSegment {
        flow: pseudotcp_packet::FlowKey::new(
            pseudotcp_packet::Protocol::Tcp,
            flow.source(),
            flow.destination(),
        ),
        seq: SeqNumber::new(77),
        ack: None,
        flags: <_>::default(),
        window: 0,
        options: <_>::default(),
        segment_size: None,
    }
    .build(Bytes::from_static(b"too large"))
}

#[test]
fn what_an_error_quotes_is_found_again() {
    for ipv6 in [false, true] {
        let (sent, segment) = (any_datagram(ipv6, 2_000), segment(ipv6));
        for (cause, error) in [
            (ErrorCause::TooBig { mtu: 1_300 }, Quote::of(&sent).unwrap().too_big(1_300)),
            (
                ErrorCause::Unreachable(Unreachable::Port),
                Quote::of(&sent).unwrap().unreachable(Unreachable::Port),
            ),
            (ErrorCause::Other, Quote::of(&sent).unwrap().reassembly_timed_out()),
        ] {
            let error = IcmpError::of(&Packet::parse(error.to_bytes()).unwrap()).unwrap();
            assert_eq!(error, IcmpError { cause, flow: sent.flow().unwrap(), seq: None });
        }
        let error = IcmpError::of(&Quote::of(&segment).unwrap().too_big(1_400)).unwrap();
        assert_eq!(error.flow, segment.flow().unwrap());
        assert_eq!(error.seq, Some(SeqNumber::new(77)));
        assert_eq!(IcmpError::of(&sent), None);
        assert_eq!(IcmpError::of(&echo(ipv6, if ipv6 { 128 } else { 8 })), None);
    }
}

#[test]
fn every_unreachable_is_read_as_it_was_written() {
    for cause in [
        Unreachable::Network,
        Unreachable::Host,
        Unreachable::Protocol,
        Unreachable::Port,
        Unreachable::HostProhibited,
        Unreachable::Prohibited,
    ] {
        for ipv6 in [false, true] {
            let error = Quote::of(&any_datagram(ipv6, 9)).unwrap().unreachable(cause);
            let read = IcmpError::of(&error).unwrap().cause;
            let same = if ipv6 && cause == Unreachable::HostProhibited {
                Unreachable::Prohibited
            } else {
                cause
            };
            assert_eq!(read, ErrorCause::Unreachable(same));
        }
    }
}

/// A datagram over IPv6 behind one extension header.
fn behind(protocol: u8, extension: [u8; 8]) -> Packet {
    let plain = any_datagram(true, 3).segments().next().unwrap().to_bytes();
    let mut octets = plain[..40].to_vec();
    octets[6] = protocol;
    octets[5] += 8;
    octets.extend(extension);
    octets[40] = 17;
    octets.extend(&plain[40..]);
    Packet::parse(octets.into()).unwrap()
}

/// RFC 8200 §4.2 and §4.4, RFC 5095.
#[test]
fn an_unknown_option_says_what_to_do_with_it() {
    let option = |kind| [0, 0, kind, 4, 0, 0, 0, 0];
    let told = |at| Some(HeaderProblem::Tell(ParameterProblem::Option { at }));
    for protocol in [0, 60] {
        for (kind, problem) in [
            (1, None),
            (0x3E, None),
            (0x5E, Some(HeaderProblem::Drop)),
            (0x9E, told(42)),
            (0xDE, told(42)),
        ] {
            let packet = behind(protocol, option(kind));
            assert_eq!(packet.ip().header_problem(), problem, "{protocol} {kind:#x}");
        }
        let later = behind(protocol, [0, 0, 0, 1, 0, 0xDE, 0, 0]);
        assert_eq!(later.ip().header_problem(), told(45), "behind padding");
    }
    let route = |segments_left| behind(43, [0, 0, 0, segments_left, 0, 0, 0, 0]);
    let told = Some(HeaderProblem::Tell(ParameterProblem::Field { at: 42 }));
    assert_eq!(route(1).ip().header_problem(), told);
    assert_eq!(route(0).ip().header_problem(), None);
    assert_eq!(any_datagram(true, 3).ip().header_problem(), None);
    assert_eq!(any_datagram(false, 3).ip().header_problem(), None);
}
