//! RFC 9293 §3.10.7, line by line where no other test says it, and what RFC 5961, 6191 and 7323 add.

mod common;

use std::time::Duration;

use common::bench::{Bench, Seg, ack, data, fin, linux_syn, rst, syn};
use pseudotcp_packet::TcpFlags;
use pseudotcp_tcp::{CloseCause, Config, Event, FlowId, State};

/// A flow whose SYN-ACK has left.
fn syn_received(first: Seg) -> (Bench, FlowId) {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(first);
    bench.engine.accept(bench.now, id);
    assert_eq!(bench.out().len(), 1);
    (bench, id)
}

/// A connection in TIME-WAIT whose app has used the numbers 0 and 1.
fn time_wait(first: &Seg) -> Bench {
    let ts = |seg: Seg| if first.has_timestamps() { seg.ts(1_000, 0) } else { seg };
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(first.clone());
    bench.finish(id);
    bench.out();
    bench.app(ts(fin(1, 2)));
    assert_eq!(bench.out().len(), 1);
    assert_eq!(bench.events().len(), 2);
    bench
}

#[test]
fn rfc_9293_3_10_7_1_syn_with_fin_is_nobodys_and_draws_no_answer() {
    let mut bench = Bench::new(Config::new());
    bench.app(syn().with(TcpFlags::FIN));
    assert_eq!((bench.out(), bench.engine.stats().dropped), (vec![], 1));
    bench.app(syn().with(TcpFlags::FIN).ack_of(7));
    assert_eq!(bench.out(), ["R 7 win 0"]);
}

#[test]
fn rfc_9293_3_10_7_4_an_unacceptable_segment_in_syn_received_is_acknowledged() {
    let (mut bench, id) = syn_received(syn());
    bench.app(data(100_000, 1, "far"));
    bench.app(ack(0, 1));
    assert_eq!(
        (bench.out(), bench.state(id)),
        (vec![". 1 ack 1 win 65535".into()], State::SynReceived)
    );
}

#[test]
fn rfc_9293_3_10_7_4_another_syn_in_syn_received_returns_to_listen() {
    let (mut bench, old) = syn_received(syn());
    bench.app(syn().seq(100));
    let flow = bench.flow();
    let [
        Event::Closed { id, cause: CloseCause::Cancelled },
        Event::Opening { id: new, flow: asks },
    ] = bench.events()[..]
    else {
        panic!()
    };
    assert_eq!((id, asks, bench.state(new)), (old, flow, State::Held));
}

#[test]
fn rfc_9293_3_10_7_4_a_syn_far_away_in_syn_received_is_challenged() {
    let (mut bench, id) = syn_received(syn());
    bench.app(syn().seq(1_000_000));
    assert_eq!(
        (bench.out(), bench.state(id)),
        (vec![". 1 ack 1 win 65535".into()], State::SynReceived)
    );
}

#[test]
fn rfc_9293_3_10_7_4_a_reset_in_syn_received_ends_it_if_it_is_exact() {
    let (mut bench, id) = syn_received(syn());
    bench.app(rst(2));
    assert_eq!((bench.out(), bench.events()), (vec![". 1 ack 1 win 65535".into()], vec![]));
    bench.app(rst(1));
    assert_eq!(bench.events(), [Event::Closed { id, cause: CloseCause::Reset }]);
    assert_eq!(bench.out(), [""; 0]);
}

#[test]
fn rfc_9293_3_10_7_4_an_acknowledgement_of_old_octets_brings_no_window() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.write(id, "abcd");
    bench.out();
    bench.app(ack(1, 5));
    bench.app(data(1, 3, "later").win(0));
    bench.write(id, "efgh");
    assert_eq!(bench.out(), ["P. 5+4 ack 6 win 65531"]);
}

#[test]
fn rfc_9293_3_10_7_4_a_fin_before_known_octets_is_a_contradiction() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(data(4, 1, "defghi"));
    bench.app(fin(6, 1));
    bench.app(data(1, 1, "abc"));
    assert_eq!((bench.read(id), bench.state(id)), (b"abcdefghi".to_vec(), State::Established));
    bench.app(fin(10, 1));
    assert_eq!(bench.state(id), State::CloseWait);
}

#[test]
fn rfc_7323_3_2_a_reset_carries_timestamps_too() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(linux_syn());
    bench.engine.reset(bench.now, id);
    assert_eq!(bench.out(), ["R. 1 ack 1 win 0 echo 1000"]);
}

#[test]
fn rfc_7323_3_2_a_segment_that_lacks_timestamps_is_taken_all_the_same() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(linux_syn());
    bench.app(data(1, 1, "plain"));
    assert_eq!(bench.out(), [". 1 ack 6 win 8192 echo 1000"]);
    assert_eq!(bench.read(id), b"plain");
}

#[test]
fn rfc_7323_5_5_a_timestamp_of_24_days_ago_rejects_nothing() {
    let day = Duration::from_hours(24);
    for (silence, taken) in [(23 * day, false), (25 * day, true)] {
        let mut bench = Bench::new(Config::new().idle_timeout(60 * day));
        let id = bench.open_with(linux_syn());
        bench.after(silence);
        bench.app(data(1, 1, "old clock").ts(999, 0));
        assert_eq!(bench.read(id).len(), if taken { 9 } else { 0 });
    }
}

#[test]
fn rfc_5961_3_2_a_reset_behind_the_last_sacked_octet_is_exact() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(syn().sack_ok());
    bench.app(data(5, 1, "gap"));
    bench.out();
    bench.app(rst(6));
    assert_eq!((bench.out().len(), bench.state(id)), (1, State::Established));
    bench.app(rst(8));
    assert_eq!(bench.state(id), State::Closed);
}

#[test]
fn rfc_5961_3_2_a_reset_that_does_not_count_the_fin_is_exact() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(rst(0));
    assert_eq!(bench.state(id), State::Established);
    bench.app(fin(1, 1));
    bench.app(rst(1));
    assert_eq!(bench.state(id), State::Closed);
}

#[test]
fn rfc_9293_3_10_7_4_time_wait_starts_anew_with_a_fin_and_nothing_else() {
    let mut bench = time_wait(&syn());
    for (segment, answered) in [(ack(2, 2), false), (data(2, 2, "late"), true), (ack(1, 2), true)] {
        bench.after_ms(300);
        bench.app(segment);
        assert_eq!(bench.out(), vec![". 2 ack 2 win 65535"; usize::from(answered)]);
    }
    bench.after_ms(99);
    bench.app(fin(1, 2));
    assert_eq!(bench.out(), [". 2 ack 2 win 65535"]);
    bench.after_ms(999);
    assert!(bench.engine.poll_timeout().is_some());
    bench.after_ms(1);
    assert_eq!(bench.engine.poll_timeout(), None);
}

#[test]
fn rfc_6191_2_by_timestamp_where_both_have_one() {
    // (the new SYN's number, its timestamp, whether it opens)
    for (seq, value, opens) in
        [(0, 1_001, true), (0, 1_000, false), (3, 1_000, true), (3, 999, false)]
    {
        let mut bench = time_wait(&linux_syn());
        bench.app(linux_syn().seq(seq).ts(value, 0));
        assert_eq!(bench.events().len(), usize::from(opens), "{seq} {value}");
        assert_eq!(bench.out().len(), usize::from(!opens));
    }
}

#[test]
fn rfc_6191_2_by_number_where_a_timestamp_is_missing() {
    for (old, new, opens) in [
        (syn(), syn().seq(3), true),
        (syn(), syn().seq(1), false),
        (syn(), linux_syn().seq(1), true),
        (linux_syn(), syn().seq(3), true),
        (linux_syn(), syn().seq(1), false),
    ] {
        let mut bench = time_wait(&old);
        let told = format!("{old:?} {new:?}");
        bench.app(new);
        assert_eq!(bench.events().len(), usize::from(opens), "{told}");
    }
}
