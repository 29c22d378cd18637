//! Forged, hostile and absurd segments.

mod common;

use std::time::Duration;

use common::bench::{Bench, ack, data, fin, linux_syn, rst, syn};
use pseudotcp_packet::build::TcpSegment;
use pseudotcp_packet::{Body, FlowKey, Packet, Protocol, SeqNumber, TcpFlags, TcpOptions};
use pseudotcp_tcp::{CloseCause, Config, Event, State};

#[test]
fn d16_unknown_flows_are_answered_by_an_rst_that_hosts_accept() {
    let mut bench = Bench::new(Config::new());
    bench.app(data(5, 77, "lost"));
    assert_eq!(bench.out(), ["R 77 win 0"]);
    bench.app(fin(5, 77).without_ack());
    assert_eq!(bench.out(), ["R. 0 ack 6 win 0"], "without ACK it acknowledges data and FIN");
    bench.app(syn().with(TcpFlags::ACK).ack_of(42));
    assert_eq!(bench.out(), ["R 42 win 0"]);
}

#[test]
fn d16_never_an_rst_in_answer_to_rst() {
    let mut bench = Bench::new(Config::new());
    bench.app(rst(5));
    bench.app(ack(5, 1).with(TcpFlags::RST));
    assert_eq!((bench.out(), bench.engine.stats().dropped), (vec![], 2));
}

#[test]
fn rfc_5961_an_rst_in_the_window_is_challenged_and_only_the_exact_one_resets() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(rst(100));
    assert_eq!(
        (bench.out(), bench.state(id)),
        (vec![". 1 ack 1 win 65535".into()], State::Established)
    );
    bench.app(rst(0));
    bench.app(rst(70_000));
    assert_eq!(bench.out(), [""; 0], "outside the window it is dropped");
    bench.app(rst(1));
    assert_eq!(bench.events(), [Event::Closed { id, cause: CloseCause::Reset }]);
}

#[test]
fn rfc_5961_a_syn_in_an_open_flow_is_challenged() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(syn().seq(100));
    bench.app(syn().seq(5_000_000));
    assert_eq!(
        (bench.out(), bench.state(id)),
        (vec![". 1 ack 1 win 65535".into()], State::Established)
    );
    assert_eq!(bench.engine.stats().challenge_acks, 2);
}

#[test]
fn rfc_5961_acknowledgements_of_what_was_never_sent_are_challenged() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(data(1, 2, "blind"));
    assert_eq!(bench.out(), [". 1 ack 1 win 65535"]);
    bench.app(data(1, 0_u32.wrapping_sub(70_000), "blind"));
    assert_eq!(bench.out(), [". 1 ack 1 win 65535"]);
    assert_eq!(bench.read(id), b"");
}

#[test]
fn rfc_5961_challenges_are_limited() {
    let mut bench = Bench::new(Config::new());
    bench.open();
    let mut answers = 0;
    for _ in 0..1_000 {
        bench.app(rst(100));
        answers += bench.out().len();
    }
    assert_eq!((answers, bench.engine.stats().challenge_acks), (10, 10));
    bench.after(Duration::from_secs(1));
    bench.app(rst(100));
    assert_eq!(bench.out().len(), 1);
}

#[test]
fn paws_rejects_an_old_duplicate_and_acknowledges_it() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(linux_syn());
    bench.app(data(1, 1, "new").ts(1_100, 0));
    bench.out();
    bench.app(data(4, 1, "old").ts(1_099, 0));
    assert_eq!(bench.out(), [". 1 ack 4 win 8192 echo 1100"]);
    assert_eq!((bench.read(id), bench.engine.stats().paws_rejected), (b"new".to_vec(), 1));
    // RST is exempt (RFC 7323 §5.2).
    bench.app(rst(4));
    assert_eq!(bench.state(id), State::Closed);
}

#[test]
fn a_timestamp_from_beyond_the_window_is_not_remembered() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(linux_syn());
    bench.app(data(4, 1, "later").ts(9_000, 0));
    bench.app(data(1, 1, "now").ts(1_001, 0));
    assert_eq!((bench.read(id), bench.engine.stats().paws_rejected), (b"nowlater".to_vec(), 0));
}

#[test]
fn segments_without_ack_are_dropped() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(data(1, 1, "odd").without_ack());
    assert_eq!((bench.read(id), bench.out()), (vec![], vec![]));
}

#[test]
fn data_beyond_the_window_is_not_taken() {
    let mut bench = Bench::new(Config::new().receive_buffer(4_096));
    let id = bench.open();
    bench.app(data(1, 1, vec![0; 60_000]));
    assert_eq!(bench.engine.stats().bytes_dropped, 60_000 - 4_096);
    bench.app(data(90_000, 1, "far"));
    assert_eq!((bench.read(id).len(), bench.engine.buffered()), (4_096, 0));
}

#[test]
fn two_pure_acks_do_not_answer_each_other_for_ever() {
    let mut bench = Bench::new(Config::new());
    bench.open();
    let answers: usize = (0..100)
        .map(|_| {
            bench.app(ack(0, 1));
            bench.out().len()
        })
        .sum();
    assert_eq!(answers, 10);
}

#[test]
fn an_absurd_mss_is_not_believed() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(syn().mss(Some(1)));
    bench.write(id, vec![0; 1_000]);
    assert_eq!(bench.transmit().unwrap().payload_len(), 88);
}

#[test]
fn no_answer_leaves_for_groups_of_hosts() {
    let mut bench = Bench::new(Config::new());
    for server in ["224.0.0.1:80", "255.255.255.255:80", "0.0.0.0:80", "[ff02::1]:80"] {
        let app = if server.starts_with('[') { "[fd00::1]:5000" } else { "10.0.0.1:5000" };
        let flow = FlowKey::new(Protocol::Tcp, app.parse().unwrap(), server.parse().unwrap());
        for flags in [TcpFlags::SYN, TcpFlags::FIN] {
            let options = TcpOptions::default();
            let seq = SeqNumber::new(1);
            let segment =
                TcpSegment { flow, seq, ack: None, flags, window: 9, options, segment_size: None };
            let packet =
                Packet::parse(segment.build(Body::default()).segments().next().unwrap().to_bytes());
            bench.engine.handle_segment(bench.now, &packet.unwrap());
        }
    }
    assert_eq!((bench.out(), bench.events()), (vec![], vec![]));
}

#[test]
fn answers_that_nobody_takes_are_bounded() {
    let mut bench = Bench::new(Config::new());
    for _ in 0..5_000 {
        bench.app(data(5, 77, "lost"));
    }
    assert_eq!(bench.out().len(), 1_024);
}

#[test]
fn what_is_not_tcp_is_counted_and_dropped() {
    let mut bench = Bench::new(Config::new());
    let (app, server) = (bench.flow().source(), bench.flow().destination());
    let datagram = pseudotcp_packet::build::datagram(app, server, "x".into(), None).unwrap();
    bench.engine.handle_segment(bench.now, &datagram);
    assert_eq!((bench.engine.stats().dropped, bench.out()), (1, vec![]));
}

#[test]
fn a_flood_of_one_byte_segments_out_of_order_is_bounded() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    for n in 0..20_000 {
        bench.app(data(3 + 2 * n, 1, "x"));
        bench.out();
    }
    // 512 runs of an octet, with what each costs.
    assert!(bench.engine.buffered() <= 512 * 100, "{}", bench.engine.buffered());
    assert_eq!(bench.state(id), State::Established);
}
