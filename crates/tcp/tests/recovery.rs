//! Losses shown by time and by SACK: RFC 8985, 2883, 6298 and 6582.

mod common;

use std::time::Duration;

use common::bench::{Bench, ack, data, linux_syn, syn};
use pseudotcp_tcp::{Config, CongestionControl, FlowId};

const RTT: Duration = Duration::from_millis(40);

/// An open flow to an app with SACK whose round trip of 40 ms is known, and ten segments of 1,000
/// bytes in flight that left 1 ms apart.
fn in_flight() -> (Bench, FlowId) {
    in_flight_of(Config::new())
}

/// The same from a gateway, which probes a silent tail sooner.
fn in_flight_of_gateway() -> (Bench, FlowId) {
    in_flight_of(Config::new().congestion(CongestionControl::Cubic))
}

fn in_flight_of(config: Config) -> (Bench, FlowId) {
    let (mut bench, id) = measured_of(config);
    for n in 0..10 {
        bench.write(id, vec![n; 1_000]);
        assert_eq!(bench.out().len(), 1);
        bench.after_ms(1);
    }
    (bench, id)
}

/// The same, before anything is in flight. The next number of ours is 1.
fn measured() -> (Bench, FlowId) {
    measured_of(Config::new())
}

fn measured_of(config: Config) -> (Bench, FlowId) {
    let mut bench = Bench::new(config);
    let id = bench.opening(syn().mss(Some(1_000)).sack_ok());
    bench.engine.accept(bench.now, id);
    bench.out();
    bench.after(RTT);
    bench.app(ack(1, 1));
    (bench, id)
}

/// The app reports blocks.
fn report(bench: &mut Bench, number: u32, blocks: &[(u32, u32)]) {
    let report = ack(1, number).sack(bench, blocks);
    bench.app(report);
}

fn sent(bench: &mut Bench) -> Vec<String> {
    let out = bench.out();
    out.iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn rfc_8985_6_2_a_hole_is_lost_when_the_reordering_window_is_over() {
    let (mut bench, _) = in_flight();
    bench.after_ms(30);
    report(&mut bench, 1, &[(1_001, 2_001)]);
    assert_eq!(sent(&mut bench), [""; 0]);
    // Sent 1 ms before what arrived; the window is a quarter of 39 ms.
    bench.after_ms(8);
    assert_eq!(sent(&mut bench), [""; 0]);
    bench.after_ms(1);
    assert_eq!(sent(&mut bench), ["1+1000"]);
    assert_eq!(bench.engine.stats().fast_retransmits, 1);
}

#[test]
fn rfc_8985_6_2_4_three_segments_beyond_a_hole_leave_no_doubt() {
    let (mut bench, _) = in_flight();
    bench.after_ms(32);
    report(&mut bench, 1, &[(1_001, 3_001)]);
    assert_eq!(sent(&mut bench), [""; 0]);
    report(&mut bench, 1, &[(1_001, 4_001)]);
    assert_eq!(sent(&mut bench), ["1+1000"]);
}

#[test]
fn rfc_8985_6_2_3_where_segments_were_reordered_three_are_not_enough() {
    let (mut bench, _) = in_flight();
    bench.after_ms(30);
    report(&mut bench, 1, &[(1_001, 2_001)]);
    report(&mut bench, 2_001, &[]);
    assert_eq!(sent(&mut bench), [""; 0]);
    report(&mut bench, 2_001, &[(3_001, 6_001)]);
    assert_eq!(sent(&mut bench), [""; 0], "it may come yet");
    bench.after_ms(9);
    assert_eq!(sent(&mut bench), ["2001+1000"]);
}

#[test]
fn rfc_8985_a_retransmission_that_was_lost_goes_once_more() {
    let (mut bench, id) = in_flight();
    bench.after_ms(35);
    report(&mut bench, 1, &[(1_001, 6_001)]);
    assert_eq!(sent(&mut bench), ["1+1000"]);
    bench.after_ms(1);
    bench.write(id, vec![0; 1_000]);
    assert_eq!(sent(&mut bench), ["10001+1000"]);
    bench.after(RTT);
    report(&mut bench, 1, &[(10_001, 11_001), (1_001, 10_001)]);
    assert_eq!(sent(&mut bench), ["1+1000"], "what left later has arrived");
}

#[test]
fn rfc_8985_7_a_silent_tail_is_probed_by_its_last_segment() {
    let (mut bench, _) = in_flight_of_gateway();
    // 2 × SRTT and 10 ms after the last one, which left 1 ms ago.
    bench.after_ms(88);
    assert_eq!(sent(&mut bench), [""; 0]);
    bench.after_ms(1);
    assert_eq!(sent(&mut bench), ["9001+1000"]);
    assert_eq!(bench.engine.stats().tail_probes, 1);
    // The report that the probe draws shows all losses at once.
    bench.after(RTT);
    report(&mut bench, 1, &[(9_001, 10_001)]);
    bench.after_ms(10);
    assert_eq!(sent(&mut bench).len(), 7, "as much as the reduced window takes");
    assert_eq!(bench.engine.stats().timeouts, 0);
}

#[test]
fn rfc_8985_7_3_new_data_is_the_better_probe() {
    let (mut bench, id) = measured();
    bench.app(ack(1, 1).win(2_500));
    bench.write(id, vec![0; 3_000]);
    assert_eq!(sent(&mut bench), ["1+1000", "1001+1000"]);
    bench.app(ack(1, 1).win(4_000));
    assert_eq!(sent(&mut bench), ["2001+1000"]);
    bench.write(id, vec![0; 500]);
    assert_eq!(sent(&mut bench), ["3001+500"]);
    let _ = id;
}

#[test]
fn rfc_8985_7_2_one_probe_and_then_the_timer() {
    let (mut bench, _) = in_flight_of_gateway();
    bench.after_ms(89);
    assert_eq!(sent(&mut bench).len(), 1);
    // The timeout counts from the probe.
    bench.after_ms(199);
    assert_eq!(sent(&mut bench), [""; 0]);
    bench.after_ms(1);
    assert_eq!(sent(&mut bench), ["1+1000"]);
    assert_eq!(bench.engine.stats().timeouts, 1);
}

#[test]
fn rfc_8985_7_2_the_ack_of_a_single_segment_may_be_delayed() {
    let (mut bench, id) = measured();
    bench.write(id, "one");
    assert_eq!(sent(&mut bench), ["1+3"]);
    bench.after_ms(199);
    assert_eq!(sent(&mut bench), [""; 0]);
    bench.after_ms(1);
    assert_eq!(bench.engine.stats().timeouts, 0);
    assert_eq!(sent(&mut bench), ["1+3"], "a probe, as it is due no later than the timeout");
}

#[test]
fn rfc_8985_7_without_sack_nothing_is_probed() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.write(id, vec![0; 5_000]);
    bench.out();
    bench.after_ms(199);
    assert_eq!((sent(&mut bench), bench.engine.stats().tail_probes), (vec![], 0));
    bench.after_ms(1);
    assert_eq!(sent(&mut bench), ["1+1460"]);
}

#[test]
fn rfc_8985_6_3_a_timeout_spares_what_left_a_moment_ago() {
    let (mut bench, id) = in_flight();
    // The first segment left 10 ms ago; 200 ms after it the tail is probed, and 200 ms later it is
    // over.
    bench.after_ms(190);
    assert_eq!(sent(&mut bench), ["9001+1000"]);
    bench.after_ms(199);
    bench.write(id, vec![0; 1_000]);
    assert_eq!(sent(&mut bench), ["10001+1000"]);
    bench.after_ms(1);
    assert_eq!(sent(&mut bench), ["1+1000"]);
    bench.app(ack(1, 10_001));
    assert_eq!(sent(&mut bench), [""; 0], "the last one may still arrive");
    bench.app(ack(1, 11_001));
    assert_eq!(bench.engine.buffered(), 0);
}

#[test]
fn rfc_8985_7_2_an_app_on_this_machine_may_be_busy_for_a_while() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(syn().mss(Some(1_000)).sack_ok());
    bench.write(id, vec![0; 3_000]);
    assert_eq!(bench.out().len(), 3);
    bench.after_ms(149);
    assert_eq!(sent(&mut bench), [""; 0]);
    bench.after_ms(1);
    assert_eq!(sent(&mut bench), ["2001+1000"]);
}

#[test]
fn rfc_2018_8_an_app_that_takes_its_reports_back_gets_everything_again() {
    let (mut bench, _) = in_flight();
    bench.after_ms(32);
    report(&mut bench, 1, &[(2_001, 10_001)]);
    assert_eq!(sent(&mut bench), ["1+1000", "1001+1000"]);
    // Only the holes are acknowledged: the rest must be gone.
    report(&mut bench, 2_001, &[]);
    bench.after_ms(500);
    bench.out();
    let mut number = 2_001;
    while number < 10_001 {
        number += 1_000;
        bench.app(ack(1, number));
        bench.out();
    }
    assert_eq!((bench.engine.buffered(), bench.engine.stats().retransmissions), (0, 10));
}

#[test]
fn rfc_2883_what_arrives_twice_is_reported_once() {
    let mut bench = Bench::new(Config::new());
    bench.open_with(syn().sack_ok());
    bench.app(data(1, 1, "abcd"));
    bench.out();
    bench.app(data(1, 1, "abcd"));
    assert_eq!(bench.out(), [". 1 ack 5 win 65532 sack 1-5"]);
    bench.app(data(3, 1, "cdef"));
    assert_eq!(bench.out(), [". 1 ack 7 win 65530 sack 3-5"], "the part that was known");
    bench.app(data(7, 1, "gh"));
    assert_eq!(bench.out(), [". 1 ack 9 win 65528"]);
    bench.app(data(11, 1, "kl"));
    bench.out();
    bench.app(data(11, 1, "kl"));
    assert_eq!(bench.out(), [". 1 ack 9 win 65528 sack 11-13 sack 11-13"]);
}

#[test]
fn rfc_2018_4_data_does_not_stand_in_for_a_report() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(syn().sack_ok());
    bench.app(data(1, 1, "ab"));
    bench.app(data(5, 1, "ef"));
    bench.write(id, "answer");
    assert_eq!(
        bench.out(),
        [". 1 ack 3 win 65534 sack 5-7", ". 1 ack 3 win 65534 sack 5-7", "P. 1+6 ack 3 win 65534"]
    );
}

#[test]
fn rfc_2883_a_duplicate_reported_by_the_app_widens_the_window() {
    let (mut bench, id) = in_flight();
    bench.after_ms(32);
    report(&mut bench, 1, &[(1_001, 4_001)]);
    assert_eq!(sent(&mut bench), ["1+1000"]);
    bench.after_ms(5);
    report(&mut bench, 10_001, &[(1, 1_001)]);
    assert_eq!(bench.engine.stats().needless_retransmissions, 1);
    for n in 0..5 {
        bench.write(id, vec![n; 1_000]);
        bench.out();
    }
    bench.after_ms(40);
    report(&mut bench, 10_001, &[(11_001, 12_001)]);
    report(&mut bench, 12_001, &[]);
    report(&mut bench, 12_001, &[(13_001, 15_001)]);
    // Twice a quarter of 40 ms, as it is known that segments overtake each other.
    bench.after_ms(19);
    assert_eq!(sent(&mut bench), [""; 0]);
    bench.after_ms(1);
    assert_eq!(sent(&mut bench), ["12001+1000"]);
}

#[test]
fn rfc_6298_karn_a_fast_retransmission_measures_nothing() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(syn().mss(Some(1_000)));
    bench.write(id, vec![0; 4_000]);
    bench.out();
    bench.after_ms(150);
    for _ in 0..3 {
        bench.app(ack(1, 1));
    }
    assert_eq!(sent(&mut bench), ["1+1000"]);
    bench.app(ack(1, 4_001));
    // Were the 150 ms taken for a round trip, the next timeout would be far beyond 200 ms.
    bench.write(id, "next");
    bench.out();
    bench.after_ms(200);
    assert_eq!(sent(&mut bench), ["4001+4"]);
}

#[test]
fn rfc_6298_5_7_after_a_lost_syn_ack_the_first_timeout_is_three_seconds() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(syn());
    bench.engine.accept(bench.now, id);
    bench.out();
    bench.after_ms(1_000);
    assert_eq!(bench.out().len(), 1);
    bench.app(ack(1, 1));
    bench.write(id, "first");
    bench.out();
    bench.after_ms(2_999);
    assert_eq!(bench.out(), [""; 0]);
    bench.after_ms(1);
    assert_eq!(sent(&mut bench), ["1+5"]);
}

#[test]
fn rfc_9293_3_8_6_a_fin_that_goes_again_keeps_to_a_window_that_has_shrunk() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.write(id, "data");
    bench.finish(id);
    assert_eq!(bench.out(), ["FP. 1+4 ack 1 win 65535"]);
    bench.app(ack(1, 1).win(4));
    bench.after_ms(200);
    assert_eq!(bench.out(), ["P. 1+4 ack 1 win 65535"]);
    bench.app(ack(1, 5).win(4));
    assert_eq!(bench.out(), ["F. 5 ack 1 win 65535"]);
}

#[test]
fn rfc_7323_4_1_round_trips_are_measured_by_timestamps_after_a_loss() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(linux_syn());
    bench.write(id, "slow");
    bench.out();
    bench.after_ms(1_000);
    assert!(!bench.out().is_empty());
    bench.app(ack(1, 5).ts(1_001, 0));
    assert_eq!(bench.engine.buffered(), 0);
}

/// A flow under CUBIC with as much to send as it may.
fn under_cubic() -> (Bench, FlowId) {
    let mut bench = Bench::new(Config::new().congestion(CongestionControl::Cubic));
    let id = bench.open_with(syn().mss(Some(1_000)).sack_ok().wscale(7));
    bench.write(id, vec![0; 300_000]);
    (bench, id)
}

#[test]
fn rfc_6928_a_gateway_begins_with_ten_segments() {
    let (mut bench, _) = under_cubic();
    assert_eq!(bench.out().len(), 10);
    bench.app(ack(1, 2_001));
    assert_eq!(bench.out().len(), 4, "two arrived, and the window has grown by two");
}

#[test]
fn rfc_6675_a_gateway_sends_no_more_than_the_reduced_window_while_it_repairs() {
    let (mut bench, _) = under_cubic();
    assert_eq!(bench.out().len(), 10);
    bench.after_ms(5);
    report(&mut bench, 1, &[(1_001, 4_001)]);
    assert_eq!(
        sent(&mut bench),
        ["1+1000"],
        "6 of 7 segments are on their way, and one goes again"
    );
    report(&mut bench, 1, &[(1_001, 6_001)]);
    assert_eq!(sent(&mut bench), ["10001+1000", "11001+1000"]);
    bench.app(ack(1, 10_001));
    assert_eq!(sent(&mut bench).len(), 5, "seven in all");
}

#[test]
fn rfc_5681_a_gateway_begins_anew_after_a_timeout() {
    let (mut bench, _) = under_cubic();
    bench.out();
    bench.after_ms(10);
    assert_eq!(sent(&mut bench), ["10001+1000"], "a probe");
    bench.after_ms(200);
    assert_eq!(sent(&mut bench), ["1+1000"]);
    bench.app(ack(1, 1_001));
    assert_eq!(sent(&mut bench), ["1001+1000", "2001+1000"]);
}
