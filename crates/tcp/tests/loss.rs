//! Retransmission: timers, duplicate ACKs, SACK, Karn, and what the app loses.

mod common;

use std::time::Duration;

use common::bench::{Bench, Seg, ack, data, linux_syn, syn};
use pseudotcp_packet::TcpFlags;
use pseudotcp_tcp::{Config, Event};

/// An open flow with ten segments of 1,000 bytes in flight, to an app without SACK.
fn ten_in_flight() -> (Bench, pseudotcp_tcp::FlowId) {
    ten_in_flight_to(syn())
}

/// The same, to one with SACK.
fn ten_in_flight_with_sack() -> (Bench, pseudotcp_tcp::FlowId) {
    ten_in_flight_to(syn().sack_ok())
}

fn ten_in_flight_to(syn: Seg) -> (Bench, pseudotcp_tcp::FlowId) {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(syn.mss(Some(1_000)));
    bench.write(id, vec![0; 10_000]);
    assert_eq!(bench.out().len(), 10);
    (bench, id)
}

#[test]
fn d05_the_timer_sends_again_with_back_off() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.write(id, "lost");
    let begin = bench.now;
    let mut times = Vec::new();
    for _ in 0..6 {
        assert_eq!(bench.out(), ["P. 1+4 ack 1 win 65535"]);
        times.push((bench.now - begin).as_millis());
        let due = bench.engine.poll_timeout().unwrap();
        bench.after(due - bench.now);
    }
    assert_eq!(times, [0, 200, 600, 1_400, 3_000, 6_200]);
    bench.app(ack(1, 5));
    assert_eq!((bench.out(), bench.engine.stats().retransmissions), (vec![], 5));
}

#[test]
fn the_first_timeout_is_a_second_where_nothing_was_measured() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(syn());
    bench.engine.accept(bench.now, id);
    bench.out();
    bench.after_ms(999);
    assert_eq!(bench.out(), [""; 0]);
    bench.after_ms(1);
    assert_eq!(bench.out().len(), 1);
}

#[test]
fn karn_a_segment_sent_again_measures_nothing() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.write(id, "lost");
    bench.out();
    bench.after_ms(200);
    assert_eq!(bench.out().len(), 1);
    // Were this taken for a round trip of 200 ms, the next timeout would come later.
    bench.after(Duration::from_micros(300));
    bench.app(ack(1, 5));
    bench.write(id, "next");
    bench.out();
    bench.after_ms(200);
    assert_eq!(bench.out(), ["P. 5+4 ack 1 win 65535"]);
}

#[test]
fn timestamps_measure_what_was_sent_again() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(linux_syn());
    bench.write(id, "slow");
    let first = bench.transmit().unwrap();
    let pseudotcp_packet::Transport::Tcp(tcp) = first.transport() else { panic!() };
    let value = tcp.options().timestamps.unwrap().value;
    bench.after_ms(200);
    bench.out();
    bench.after_ms(300);
    // The echo tells that the first one arrived: a round trip of 500 ms.
    bench.app(ack(1, 5).ts(1_001, value));
    bench.write(id, "next");
    bench.out();
    bench.after_ms(250);
    assert_eq!(bench.out(), [""; 0], "the timeout has grown");
}

#[test]
fn three_duplicates_repair_a_loss_without_the_timer() {
    let (mut bench, _) = ten_in_flight();
    for n in 0..3 {
        assert_eq!(bench.out(), [""; 0], "after {n}");
        bench.app(ack(1, 1));
    }
    assert_eq!(bench.out(), [". 1+1000 ack 1 win 65535"]);
    bench.app(ack(1, 1));
    assert_eq!(bench.out(), [""; 0], "once");
    // RFC 6582: a partial acknowledgement shows the next loss.
    bench.app(ack(1, 4_001));
    assert_eq!(bench.out(), [". 4001+1000 ack 1 win 65535"]);
    bench.app(ack(1, 10_001));
    assert_eq!((bench.out(), bench.engine.stats().fast_retransmits), (vec![], 1));
}

#[test]
fn window_updates_and_data_are_no_duplicates() {
    let (mut bench, _) = ten_in_flight();
    for n in 0..5_u16 {
        bench.app(ack(1, 1).win(60_000 + n));
    }
    for n in 0..5 {
        bench.app(data(1 + n, 1, "x").win(60_004));
    }
    assert_eq!(bench.out(), [". 10001 ack 6 win 65531"]);
}

#[test]
fn sack_sends_only_the_holes_and_each_once() {
    let (mut bench, _) = ten_in_flight_with_sack();
    let report = ack(1, 1).sack(&bench, &[(7_001, 10_001), (3_001, 5_001), (1_001, 2_001)]);
    bench.app(report.clone());
    assert_eq!(
        bench.out(),
        [
            ". 1+1000 ack 1 win 65535",
            ". 2001+1000 ack 1 win 65535",
            ". 5001+1000 ack 1 win 65535",
            ". 6001+1000 ack 1 win 65535"
        ]
    );
    bench.app(report);
    assert_eq!(bench.out(), [""; 0]);
}

#[test]
fn sack_of_little_is_not_yet_a_loss() {
    let (mut bench, _) = ten_in_flight_with_sack();
    let report = ack(1, 1).sack(&bench, &[(1_001, 3_001)]);
    bench.app(report);
    assert_eq!(bench.out(), [""; 0], "it may be reordering");
}

#[test]
fn sack_blocks_that_lie_are_ignored() {
    let (mut bench, _) = ten_in_flight_with_sack();
    let report = ack(1, 1).sack(&bench, &[(0, 1), (20_000, 30_000), (5_000, 4_000), (1, 10_002)]);
    bench.app(report);
    assert_eq!(bench.out(), [""; 0]);
}

#[test]
fn after_a_timeout_the_rest_follows_as_it_is_acknowledged() {
    let (mut bench, _) = ten_in_flight();
    bench.after_ms(200);
    assert_eq!(bench.out(), [". 1+1000 ack 1 win 65535"]);
    bench.app(ack(1, 1_001));
    assert_eq!(bench.out(), [". 1001+1000 ack 1 win 65535", ". 2001+1000 ack 1 win 65535"]);
    bench.app(ack(1, 3_001));
    assert_eq!(bench.out().len(), 4);
    bench.app(ack(1, 10_001));
    assert_eq!((bench.out(), bench.engine.buffered()), (vec![], 0));
}

#[test]
fn new_data_waits_until_the_timeout_is_repaired() {
    let (mut bench, id) = ten_in_flight();
    bench.after_ms(200);
    bench.out();
    bench.write(id, "new");
    assert_eq!(bench.out(), [""; 0]);
    bench.app(ack(1, 10_001));
    assert_eq!(bench.out(), ["P. 10001+3 ack 1 win 65535"]);
}

#[test]
fn an_app_that_shrinks_its_window_is_tolerated() {
    let (mut bench, _) = ten_in_flight();
    bench.app(ack(1, 1).win(500));
    bench.after_ms(200);
    assert_eq!(bench.out(), [". 1+500 ack 1 win 65535"], "never past the new window");
    bench.app(ack(1, 1).win(0));
    bench.after_ms(400);
    assert_eq!(bench.out(), [". 0 ack 1 win 65535"], "a probe");
    bench.app(ack(1, 1).win(65_535));
    bench.after_ms(800);
    assert!(!bench.out().is_empty());
    bench.app(ack(1, 10_001));
    assert_eq!(bench.engine.buffered(), 0);
}

#[test]
fn a_fin_behind_lost_data_goes_again_with_it() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.write(id, "data");
    bench.out();
    bench.finish(id);
    assert_eq!(bench.out(), ["F. 5 ack 1 win 65535"]);
    bench.after_ms(200);
    assert_eq!(bench.out(), ["FP. 1+4 ack 1 win 65535"]);
    bench.app(ack(1, 6));
    assert_eq!(bench.out(), [""; 0]);
}

#[test]
fn what_arrives_twice_out_of_order_is_kept_once() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(syn().sack_ok());
    for seq in [11, 5, 11, 7, 5] {
        bench.app(data(seq, 1, vec![u8::try_from(seq).unwrap(); 4]));
    }
    assert_eq!(bench.engine.flows().map(|info| info.unread).sum::<usize>(), 10);
    let out = bench.out();
    assert_eq!(out[0], ". 1 ack 1 win 65535 sack 5-9 sack 5-15", "RFC 2883: the last one, twice");
    assert_eq!(out[1..], vec![". 1 ack 1 win 65535 sack 5-15"; 4]);
    bench.app(data(1, 1, "head"));
    assert_eq!(bench.read(id).len(), 14);
    assert_eq!(bench.engine.stats().bytes_in, 14);
}

#[test]
fn a_retransmitted_fin_is_acknowledged_again() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    let last = data(1, 1, "bye").with(TcpFlags::FIN);
    bench.app(last.clone());
    bench.out();
    bench.app(last);
    assert_eq!(bench.out(), [". 1 ack 5 win 65533"]);
    assert_eq!(bench.events(), [Event::Readable { id }, Event::Finished { id }]);
}
