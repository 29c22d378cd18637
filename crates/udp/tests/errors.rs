//! ICMP errors of both directions: what apps are told, and what their side tells us.

mod support;

use std::time::Duration;

use bytes::Bytes;
use pseudotcp_packet::{Packet, Transport, Unreachable};
use pseudotcp_udp::{Config, Event, Refusal};
use support::{APP, Bench, SERVER, datagram, super_datagram, wire};

const PORT: Refusal = Refusal::Unreachable(Unreachable::Port);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn d30_an_error_quotes_the_last_datagram_or_else_its_head() {
    let mut bench = Bench::new(Config::default());
    let request = datagram(APP, SERVER, b"closed?");
    bench.deliver(&request);
    let id = bench.opening();
    bench.demux.accept(bench.now, id);
    bench.demux.close(bench.now, id, Some(Unreachable::Port));
    let quoted = bench.packets()[0].body().concat();
    assert_eq!(quoted, request.to_bytes());

    bench.pass(secs(1));
    bench.events();
    let busy = bench.open(APP, SERVER);
    bench.deliver(&request);
    assert_eq!(bench.reads(busy), ["closed?"]);
    bench.demux.close(bench.now, busy, Some(Unreachable::Port));
    let quoted = bench.packets()[0].body().concat();
    assert_eq!(quoted, request.head()[..]);
}

#[test]
fn d30_a_super_datagram_is_quoted_as_its_last_piece() {
    let mut bench = Bench::new(Config::default());
    bench.deliver(&super_datagram(b"onetwothr", 3));
    bench.deliver(&super_datagram(b"onetwox", 3));
    let id = bench.opening();
    bench.demux.refuse(bench.now, id, PORT);
    let quoted = bench.packets()[0].body().concat();
    let expected = datagram(APP, SERVER, b"x");
    assert_eq!(quoted.len(), expected.total_len());
    assert_eq!(quoted[..20], expected.head()[..20], "the IP header, its checksum included");
    assert_eq!(quoted[20..26], expected.head()[20..26], "ports and length");
    assert_eq!(quoted[28..], *b"x");
}

#[test]
fn a_datagram_too_big_for_its_tunnel_is_told_the_mtu() {
    let mut bench = Bench::new(Config::default());
    let server = "[2001:db8::7]:7";
    for (app, server, told) in
        [(APP, SERVER, (3, 4, 1_228)), ("[fd00::1]:5000", server, (2, 0, 1_248))]
    {
        let id = bench.open(app, server);
        bench.deliver(&datagram(app, server, &[7; 1_400]));
        assert_eq!((bench.events().len(), bench.reads(id).len()), (1, 1));
        bench.demux.reject(id, 1_200);
        let error = Packet::parse(wire(&bench.packets()[0])).unwrap();
        let (Transport::Icmp(header) | Transport::Icmpv6(header)) = error.transport() else {
            panic!("{error}")
        };
        assert_eq!((header.kind(), header.code(), header.rest()), told);
    }
    assert_eq!(bench.demux.stats().too_bigs_out, 2);
}

/// Who lets routers fragment cannot be helped by a smaller MTU (RFC 1191 §4).
#[test]
fn nothing_is_told_where_fragments_were_welcome() {
    let mut bench = Bench::new(Config::default());
    let id = bench.open(APP, SERVER);
    let big = datagram(APP, SERVER, &[7; 1_400]).segments().next().unwrap();
    let mut octets = big.to_bytes().to_vec();
    octets[6] = 0;
    octets[10..12].copy_from_slice(&[0, 0]);
    let checksum = pseudotcp_packet::checksum::Sum::default().with(&octets[..20]).checksum();
    octets[10..12].copy_from_slice(&checksum.to_be_bytes());
    bench.deliver(&Packet::parse(octets.into()).unwrap());
    bench.demux.reject(id, 1_200);
    assert!(bench.packets().is_empty());
}

#[test]
fn a_flow_that_the_apps_side_does_not_want_ends() {
    let mut bench = Bench::new(Config::default());
    let id = bench.open(APP, SERVER);
    bench.demux.write(bench.now, id, Bytes::from_static(b"late"));
    let reply = bench.packets()[0].flow().unwrap();
    bench.demux.handle_unreachable(&reply);
    assert_eq!(bench.events(), [Event::Closed { id }]);
    bench.demux.handle_unreachable(&reply);
    assert_eq!(bench.demux.stats().flows_unwanted, 1);
    bench.open(APP, SERVER);
}

#[test]
fn replies_are_cut_to_the_narrowest_link_of_their_path() {
    for (fragment, packets) in [(true, 3), (false, 0)] {
        let mut bench = Bench::new(Config::default().fragment_replies(fragment));
        let (id, other) = (bench.open(APP, SERVER), bench.open(APP, "192.0.2.8:7"));
        bench.demux.write(bench.now, id, Bytes::from(vec![7; 1_400]));
        let reply = bench.packets()[0].flow().unwrap();
        for mtu in [600, 700] {
            bench.demux.handle_too_big(&reply, mtu);
        }
        bench.demux.write(bench.now, id, Bytes::from(vec![7; 1_400]));
        let pieces = bench.packets();
        assert_eq!(pieces.len(), packets);
        assert!(pieces.iter().all(|piece| piece.total_len() <= 600));
        bench.demux.write(bench.now, other, Bytes::from(vec![7; 1_400]));
        assert_eq!(bench.packets().len(), 1, "another path is as wide as before");
    }
}

#[test]
fn no_icmp_for_multicast() {
    let mut bench = Bench::new(Config::default());
    bench.deliver(&datagram(APP, "224.0.0.251:5353", b"?"));
    let id = bench.opening();
    bench.demux.refuse(bench.now, id, PORT);
    assert!(bench.packets().is_empty());
}
