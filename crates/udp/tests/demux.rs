//! The demux at its boundary: packets and commands in, packets and events out, at a time.

mod support;

use std::time::Duration;

use bytes::Bytes;
use pseudotcp_packet::{Packet, Transport, Unreachable};
use pseudotcp_udp::{Config, Event, FlowId, Refusal};
use support::{APP, Bench, SERVER, datagram, super_datagram, wire};

const PORT: Refusal = Refusal::Unreachable(Unreachable::Port);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// ICMP type and code of an answer to the app.
fn icmp(packet: &Packet) -> (u8, u8) {
    let packet = Packet::parse(wire(packet)).unwrap();
    match packet.transport() {
        Transport::Icmp(header) | Transport::Icmpv6(header) => (header.kind(), header.code()),
        other => panic!("expected an ICMP error, got {other:?}"),
    }
}

#[test]
fn a_datagram_goes_up_and_its_reply_comes_back() {
    let mut bench = Bench::new(Config::default());
    bench.send(b"ping");
    let id = bench.opening();
    assert!(bench.demux.read(id).is_none(), "nothing may be read before the flow is accepted");
    bench.demux.accept(bench.now, id);
    assert_eq!(bench.events(), [Event::Readable { id }]);
    assert_eq!(bench.reads(id), ["ping"]);

    bench.demux.write(bench.now, id, Bytes::from_static(b"pong"));
    let reply = Packet::parse(wire(&bench.packets()[0])).unwrap();
    let flow = reply.flow().unwrap();
    assert_eq!(
        (flow.source().to_string(), flow.destination().to_string()),
        (SERVER.into(), APP.into())
    );
    assert_eq!(reply.body()[0], "pong");
}

#[test]
fn d03_flows_are_five_tuples() {
    let mut bench = Bench::new(Config::default());
    let one = bench.open(APP, SERVER);
    let other_port = bench.open(APP, "192.0.2.7:8");
    let other_host = bench.open(APP, "192.0.2.8:7");
    let other_source = bench.open("10.0.0.1:5001", SERVER);
    assert_eq!(bench.demux.flow_count(), 4);
    bench.send(b"again");
    assert_eq!(bench.events(), [Event::Readable { id: one }]);
    for id in [other_port, other_host, other_source] {
        assert!(bench.demux.read(id).is_none());
    }
    assert_eq!(bench.reads(one), ["again"]);
}

#[test]
fn readable_is_told_once_until_the_flow_is_empty_again() {
    let mut bench = Bench::new(Config::default());
    let id = bench.open(APP, SERVER);
    bench.send(b"1");
    bench.send(b"2");
    assert_eq!(bench.events(), [Event::Readable { id }]);
    assert_eq!(bench.reads(id), ["1", "2"]);
    bench.send(b"3");
    assert_eq!(bench.events(), [Event::Readable { id }]);
}

#[test]
fn d25_first_datagram_blocks_nothing() {
    let mut bench = Bench::new(Config::default());
    let busy = bench.open(APP, SERVER);
    bench.deliver(&datagram(APP, "192.0.2.9:7", b"slow to open"));
    let slow = bench.opening();
    bench.send(b"meanwhile");
    assert_eq!(bench.events(), [Event::Readable { id: busy }]);
    assert_eq!(bench.reads(busy), ["meanwhile"]);
    bench.demux.write(bench.now, busy, Bytes::from_static(b"reply"));
    assert_eq!(bench.packets().len(), 1);
    bench.demux.accept(bench.now, slow);
    assert_eq!(bench.reads(slow), ["slow to open"]);
}

#[test]
fn the_opening_buffer_drops_the_oldest() {
    let mut bench = Bench::new(Config::default());
    for n in 0..11 {
        bench.send(&[n]);
    }
    let id = bench.opening();
    bench.demux.accept(bench.now, id);
    let kept: Vec<u8> = bench.reads(id).iter().map(|datagram| datagram[0]).collect();
    assert_eq!(kept, [3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(bench.demux.stats().dropped_opening, 3);
}

#[test]
fn the_queue_of_an_open_flow_is_bounded_by_count_and_bytes() {
    let mut bench = Bench::new(Config::default().queue_datagrams(3).queue_bytes(0));
    let id = bench.open(APP, SERVER);
    for n in 0..5 {
        bench.send(&[n]);
    }
    let kept: Vec<u8> = bench.reads(id).iter().map(|datagram| datagram[0]).collect();
    assert_eq!(kept, [2, 3, 4]);
    bench.send(&vec![0; 40_000]);
    bench.send(&vec![1; 40_000]);
    assert_eq!(bench.reads(id), [vec![1; 40_000]]);
    assert_eq!(bench.demux.stats().dropped_queue, 3);
}

#[test]
fn refusals_are_answered_and_remembered() {
    let mut bench = Bench::new(Config::default());
    bench.send(b"anybody?");
    let id = bench.opening();
    bench.demux.refuse(bench.now, id, PORT);
    assert_eq!(bench.events(), [Event::Closed { id }]);
    assert_eq!(bench.packets().iter().map(icmp).collect::<Vec<_>>(), [(3, 3)]);

    bench.pass(Duration::from_millis(999));
    bench.send(b"anybody now?");
    assert_eq!(bench.events(), [], "no second opening within the second");
    assert_eq!(bench.packets().iter().map(icmp).collect::<Vec<_>>(), [(3, 3)]);
    assert_eq!(bench.demux.poll_timeout(), None, "a memory arms no timer");

    bench.pass(Duration::from_millis(1));
    bench.send(b"anybody at last?");
    bench.opening();
    assert_eq!(bench.demux.stats().refused_again, 1);
}

#[test]
fn a_dropped_flow_hears_nothing() {
    let mut bench = Bench::new(Config::default());
    bench.send(b"anybody?");
    let id = bench.opening();
    bench.demux.refuse(bench.now, id, Refusal::Drop);
    bench.send(b"anybody?");
    assert_eq!(bench.events(), [Event::Closed { id }]);
    assert!(bench.packets().is_empty());
}

#[test]
fn every_kind_of_refusal_has_its_icmp_code() {
    use Unreachable::{Host, HostProhibited, Network, Port, Prohibited};
    let v4 = [
        (Network, (3, 0)),
        (Host, (3, 1)),
        (Port, (3, 3)),
        (HostProhibited, (3, 10)),
        (Prohibited, (3, 13)),
    ];
    let v6 = [
        (Network, (1, 0)),
        (Host, (1, 3)),
        (Port, (1, 4)),
        (HostProhibited, (1, 1)),
        (Prohibited, (1, 1)),
    ];
    for (app, server, codes) in [(APP, SERVER, v4), ("[fd00::1]:5000", "[2001:db8::7]:7", v6)] {
        for (kind, code) in codes {
            let mut bench = Bench::new(Config::default());
            bench.deliver(&datagram(app, server, b"?"));
            let id = bench.opening();
            bench.demux.refuse(bench.now, id, Refusal::Unreachable(kind));
            assert_eq!(bench.packets().iter().map(icmp).collect::<Vec<_>>(), [code], "{kind:?}");
        }
    }
}

#[test]
fn the_end_of_a_tunnel_is_told_or_forgotten() {
    let mut bench = Bench::new(Config::default());
    let told = bench.open(APP, SERVER);
    bench.demux.close(bench.now, told, Some(Unreachable::Port));
    assert_eq!(bench.events(), [Event::Closed { id: told }]);
    assert_eq!(bench.packets().iter().map(icmp).collect::<Vec<_>>(), [(3, 3)]);

    bench.pass(secs(1));
    let forgotten = bench.open(APP, SERVER);
    bench.demux.close(bench.now, forgotten, None);
    assert_eq!(bench.events(), [Event::Closed { id: forgotten }]);
    assert!(bench.packets().is_empty());
    bench.open(APP, SERVER);
}

#[test]
fn a_scan_does_not_become_as_many_requests() {
    let mut bench = Bench::new(Config::default().max_opening(10));
    for port in 1..=100 {
        bench.deliver(&datagram(APP, &format!("192.0.2.7:{port}"), b"?"));
    }
    let openings = bench.events();
    assert_eq!((openings.len(), bench.demux.stats().dropped_flows), (10, 90));
    for opening in openings {
        let Event::Opening { id, .. } = opening else { panic!("{opening:?}") };
        bench.demux.refuse(bench.now, id, PORT);
    }
    bench.events();
    bench.open(APP, "192.0.2.9:7");
}

#[test]
fn d26_idle_flows_expire() {
    let mut bench = Bench::new(Config::default());
    let dns = bench.open(APP, "192.0.2.7:53");
    let other = bench.open(APP, SERVER);
    bench.pass(secs(10));
    assert_eq!(bench.events(), [Event::Closed { id: dns }]);
    bench.pass(secs(289));
    assert_eq!(bench.events(), []);
    bench.pass(secs(1));
    assert_eq!(bench.events(), [Event::Closed { id: other }]);
    assert_eq!((bench.demux.flow_count(), bench.demux.poll_timeout()), (0, None));
    assert_eq!(bench.demux.stats().flows_expired, 2);
}

#[test]
fn traffic_of_either_direction_keeps_a_flow() {
    let mut bench = Bench::new(Config::default());
    let id = bench.open(APP, SERVER);
    bench.pass(secs(200));
    bench.send(b"up");
    bench.events();
    bench.pass(secs(200));
    bench.demux.write(bench.now, id, Bytes::from_static(b"down"));
    bench.pass(secs(299));
    assert_eq!(bench.events(), []);
    bench.pass(secs(1));
    assert_eq!(bench.events(), [Event::Closed { id }]);
}

#[test]
fn replies_need_not_refresh() {
    let mut bench = Bench::new(Config::default().reply_refreshes(false));
    let id = bench.open(APP, SERVER);
    bench.pass(secs(299));
    bench.demux.write(bench.now, id, Bytes::from_static(b"down"));
    bench.pass(secs(1));
    assert_eq!(bench.events(), [Event::Closed { id }]);
}

#[test]
fn a_flow_that_is_never_answered_expires_however_much_the_app_repeats() {
    let mut bench = Bench::new(Config::default().port_idle_timeout(7, secs(4)));
    for _ in 0..4 {
        bench.send(b"?");
        bench.pass(secs(1));
    }
    assert!(
        matches!(bench.events()[..], [Event::Opening { id, .. }, Event::Closed { id: closed }] if id == closed)
    );
    assert_eq!(bench.demux.stats().dropped_unread, 4);
}

#[test]
fn an_endless_timeout_arms_nothing() {
    let mut bench = Bench::new(Config::default().idle_timeout(Duration::MAX));
    bench.open(APP, SERVER);
    assert_eq!(bench.demux.poll_timeout(), None);
}

#[test]
fn the_flow_limit_evicts_the_least_recently_used() {
    let mut bench = Bench::new(Config::default().max_flows(3));
    let first = bench.open("10.0.0.1:1", SERVER);
    let second = bench.open("10.0.0.1:2", SERVER);
    let waiting = bench.open("10.0.0.1:3", SERVER);
    bench.deliver(&datagram("10.0.0.1:3", SERVER, b"unread"));
    bench.deliver(&datagram("10.0.0.1:1", SERVER, b"read"));
    bench.reads(first);
    bench.events();
    for (source, evicted) in
        [("10.0.0.1:4", second), ("10.0.0.1:5", first), ("10.0.0.1:6", waiting)]
    {
        bench.deliver(&datagram(source, SERVER, b"new"));
        let events = bench.events();
        assert_eq!(events[0], Event::Closed { id: evicted });
        assert!(matches!(events[1], Event::Opening { .. }));
    }
    assert_eq!((bench.demux.flow_count(), bench.demux.stats().flows_evicted), (3, 3));
}

#[test]
fn the_byte_limit_takes_from_the_least_recently_used() {
    let mut bench = Bench::new(Config::default().max_bytes(0));
    let old = bench.open("10.0.0.1:1", SERVER);
    let new = bench.open("10.0.0.1:2", SERVER);
    for source in ["10.0.0.1:1", "10.0.0.1:1", "10.0.0.1:2"] {
        bench.deliver(&datagram(source, SERVER, &vec![7; 30_000]));
    }
    assert_eq!((bench.reads(old).len(), bench.reads(new).len()), (1, 1));
    assert_eq!(bench.demux.stats().dropped_memory, 1);
}

#[test]
fn floods_of_empty_datagrams_are_bounded_by_bytes() {
    let mut bench = Bench::new(Config::default().queue_bytes(0).queue_datagrams(usize::MAX));
    let id = bench.open(APP, SERVER);
    for _ in 0..10_000 {
        bench.send(b"");
    }
    assert!(bench.reads(id).len() < 2_100);
}

#[test]
fn d28_datagram_whole_or_not_at_all() {
    let mut bench = Bench::new(Config::default());
    let id = bench.open(APP, SERVER);
    for len in [0, 1, 1_472] {
        bench.demux.write(bench.now, id, Bytes::from(vec![7; len]));
        let packets = bench.packets();
        assert_eq!(packets.len(), 1);
        assert_eq!(packets[0].payload_len(), len);
    }
    for len in [1_473, 65_507, 65_508, 1 << 20] {
        bench.demux.write(bench.now, id, Bytes::from(vec![7; len]));
        assert!(bench.packets().is_empty(), "{len} bytes do not fit");
    }
    assert_eq!(bench.demux.stats().dropped_too_big, 4);
    let request = vec![7; 65_507];
    bench.send(&request);
    assert_eq!(bench.reads(id), [request]);
}

#[test]
fn d28_a_reply_that_is_to_be_cut_leaves_whole() {
    let mut bench = Bench::new(Config::default().fragment_replies(true));
    let id = bench.open(APP, SERVER);
    for len in [1_473, 65_507] {
        bench.demux.write(bench.now, id, Bytes::from(vec![7; len]));
        assert_eq!(bench.packets()[0].payload_len(), len);
    }
    bench.demux.write(bench.now, id, Bytes::from(vec![7; 65_508]));
    assert!(bench.packets().is_empty(), "more than IPv4 can carry");
}

#[test]
fn d27_a_zero_checksum_is_sent_as_ones() {
    let mut bench = Bench::new(Config::default());
    let id = bench.open(APP, SERVER);
    let zeros = (0..=u16::MAX).filter(|payload| {
        bench.demux.write(bench.now, id, Bytes::copy_from_slice(&payload.to_be_bytes()));
        let bytes = wire(&bench.packets()[0]);
        assert_ne!(bytes[26..28], [0, 0]);
        bytes[26..28] == [0xff, 0xff]
    });
    assert_eq!(zeros.count(), 1, "exactly one payload sums up to zero");
}

#[test]
fn d29_ipv6_flows_are_served() {
    let (app, server) = ("[fd00::1]:5000", "[2001:db8::7]:7");
    let mut bench = Bench::new(Config::default());
    let id = bench.open(app, server);
    bench.deliver(&datagram(app, server, b"ping"));
    assert_eq!(bench.reads(id), ["ping"]);
    bench.demux.write(bench.now, id, Bytes::from(vec![7; 1_452]));
    bench.demux.write(bench.now, id, Bytes::from(vec![7; 1_453]));
    let packets = bench.packets();
    assert_eq!(packets.len(), 1, "the larger one exceeds the MTU");
    let reply = Packet::parse(wire(&packets[0])).unwrap();
    assert_eq!(reply.flow().unwrap().destination().to_string(), app);
}

#[test]
fn a_super_datagram_is_many_datagrams() {
    let mut bench = Bench::new(Config::default());
    let id = bench.open(APP, SERVER);
    bench.deliver(&super_datagram(b"aaaabbbbcc", 4));
    bench.deliver(&super_datagram(b"dddd", 4));
    assert_eq!(bench.reads(id), ["aaaa", "bbbb", "cc", "dddd"]);
    assert_eq!(bench.demux.stats().datagrams_in, 5);
}

#[test]
fn ids_stay_stale_when_a_table_has_been_emptied() {
    let mut bench = Bench::new(Config::default());
    let sources: Vec<String> = (1..=100).map(|port| format!("10.0.0.1:{port}")).collect();
    let stale: Vec<FlowId> = sources.iter().map(|source| bench.open(source, SERVER)).collect();
    bench.pass(secs(300));
    assert_eq!((bench.demux.flow_count(), bench.events().len()), (0, 100));
    let fresh = bench.open(APP, SERVER);
    bench.send(b"for the fresh flow");
    assert!(stale.iter().all(|&id| id != fresh && bench.demux.read(id).is_none()));
    assert_eq!(bench.reads(fresh), ["for the fresh flow"]);
}

#[test]
fn what_waits_for_transmission_is_bounded() {
    let mut bench = Bench::new(Config::default().max_transmit(2));
    let id = bench.open(APP, SERVER);
    assert_eq!(bench.demux.write_credit(), 2);
    for _ in 0..3 {
        bench.demux.write(bench.now, id, Bytes::from_static(b"reply"));
    }
    assert_eq!(bench.demux.write_credit(), 0);
    assert_eq!(bench.packets().len(), 2);
    assert_eq!(bench.demux.stats().dropped_transmit, 1);
}

#[test]
fn other_packets_are_ignored() {
    let mut bench = Bench::new(Config::default());
    let id = bench.open(APP, SERVER);
    bench.demux.close(bench.now, id, Some(Unreachable::Port));
    let error = bench.packets().remove(0);
    bench.events();
    bench.deliver(&error);
    assert_eq!((bench.events(), bench.demux.stats().ignored), (vec![], 1));
}

#[test]
fn d50_stale_ids_are_harmless() {
    let mut bench = Bench::new(Config::default());
    let stale = bench.open(APP, SERVER);
    bench.demux.close(bench.now, stale, None);
    bench.events();
    let fresh = bench.open(APP, SERVER);
    assert_eq!(stale.index(), fresh.index());
    bench.send(b"for the fresh flow");
    bench.events();

    bench.demux.accept(bench.now, stale);
    bench.demux.refuse(bench.now, stale, PORT);
    bench.demux.write(bench.now, stale, Bytes::from_static(b"lost"));
    bench.demux.close(bench.now, stale, Some(Unreachable::Port));
    assert!(bench.demux.read(stale).is_none());
    assert_eq!((bench.events(), bench.packets().len()), (vec![], 0));
    assert_eq!(bench.reads(fresh), ["for the fresh flow"]);
}

#[test]
fn an_open_flow_can_be_neither_accepted_nor_refused_again() {
    let mut bench = Bench::new(Config::default());
    let id = bench.open(APP, SERVER);
    bench.demux.accept(bench.now, id);
    bench.demux.refuse(bench.now, id, PORT);
    assert_eq!((bench.events(), bench.packets().len(), bench.demux.flow_count()), (vec![], 0, 1));
}
