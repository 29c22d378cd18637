//! Errors and echoes, octet for octet.

use std::net::SocketAddr;

use bytes::Bytes;
use pseudotcp_packet::build::{datagram, echo_reply};
use pseudotcp_packet::checksum::{Sum, pseudo_header};
use pseudotcp_packet::{Checksum, Packet, Quote, Transport, Unreachable};

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
