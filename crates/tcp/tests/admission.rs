//! Who gets in: early answers, refusals that were not heard, and full tables.

mod common;

use std::time::Duration;

use common::bench::{Bench, ack, data, linux_syn, syn};
use pseudotcp_packet::Unreachable;
use pseudotcp_tcp::{CloseCause, Config, Event, Refusal, State};

fn closed(id: pseudotcp_tcp::FlowId, cause: CloseCause) -> Event {
    Event::Closed { id, cause }
}

#[test]
fn an_early_answer_lets_data_wait_for_the_far_side() {
    let mut bench = Bench::new(Config::new().early_accept(true));
    let id = bench.opening(syn());
    assert_eq!(bench.out(), ["S. 0 ack 1 win 65535 mss 1460"]);
    bench.app(data(1, 1, "early"));
    assert_eq!(
        (bench.out(), bench.state(id)),
        (vec![". 1 ack 6 win 65531".into()], State::Established)
    );
    assert_eq!(bench.events(), [Event::Readable { id }]);
    bench.engine.accept(bench.now, id);
    assert_eq!((bench.out(), bench.read(id)), (vec![], b"early".to_vec()));
}

#[test]
fn an_early_answer_is_taken_back_by_a_reset() {
    for refusal in [
        Refusal::Reset,
        Refusal::Unreachable(Unreachable::Host),
        Refusal::Later { after: Duration::from_secs(5) },
    ] {
        for acknowledged in [false, true] {
            let mut bench = Bench::new(Config::new().early_accept(true));
            let id = bench.opening(syn());
            bench.out();
            if acknowledged {
                bench.app(ack(1, 1));
            }
            bench.engine.refuse(bench.now, id, refusal);
            assert_eq!(bench.out(), ["R. 1 ack 1 win 0"]);
            assert_eq!(bench.events(), [closed(id, CloseCause::Refused)]);
        }
    }
}

#[test]
fn after_the_far_side_has_answered_nothing_can_be_refused() {
    let mut bench = Bench::new(Config::new().early_accept(true));
    let id = bench.opening(syn());
    bench.out();
    bench.app(ack(1, 1));
    bench.engine.accept(bench.now, id);
    bench.engine.refuse(bench.now, id, Refusal::Reset);
    assert_eq!((bench.out(), bench.state(id)), (vec![], State::Established));
}

#[test]
fn early_flows_count_against_the_backlog_until_the_far_side_answers() {
    let mut bench = Bench::new(Config::new().early_accept(true).backlog(1));
    let id = bench.opening(syn());
    bench.out();
    bench.app(ack(1, 1));
    bench.port += 1;
    bench.app(syn());
    assert_eq!((bench.events(), bench.engine.stats().backlog_overflows), (vec![], 1));
    bench.engine.accept(bench.now, id);
    bench.opening(syn());
}

#[test]
fn a_refusal_that_was_not_heard_is_told_again_without_another_opening() {
    for refusal in [Refusal::Reset, Refusal::Unreachable(Unreachable::Host)] {
        let mut bench = Bench::new(Config::new());
        let id = bench.opening(linux_syn());
        bench.engine.refuse(bench.now, id, refusal);
        let first = bench.out();
        bench.events();
        bench.after_ms(1_030);
        bench.app(linux_syn().ts(2_030, 0));
        assert_eq!((bench.events(), bench.out().len()), (vec![], first.len()));
        bench.after_ms(500);
        bench.opening(linux_syn());
    }
}

#[test]
fn another_attempt_is_no_repetition() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(syn());
    bench.engine.refuse(bench.now, id, Refusal::Reset);
    bench.events();
    bench.opening(syn().seq(1));
}

#[test]
fn silence_is_not_remembered_as_a_refusal() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(syn());
    bench.engine.refuse(bench.now, id, Refusal::Later { after: Duration::from_millis(100) });
    bench.after_ms(100);
    assert_eq!(bench.opening(syn()), id);
}

#[test]
fn a_refusal_is_not_told_without_end() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(syn());
    bench.engine.refuse(bench.now, id, Refusal::Reset);
    bench.out();
    (0..100).for_each(|_| bench.app(syn()));
    assert_eq!(bench.out().len(), 4);
}

#[test]
fn a_full_table_makes_room_by_the_flow_silent_for_longest() {
    let mut bench = Bench::new(Config::new().max_flows(3));
    let mut ids = Vec::new();
    for port in 1..=3 {
        bench.port = port;
        ids.push(bench.open());
        bench.after_ms(5_000);
    }
    // The first one is heard of again; the second is now the oldest.
    bench.port = 1;
    bench.app(data(1, 1, "alive"));
    bench.read(ids[0]);
    bench.out();
    bench.events();
    bench.after_ms(1_000);
    bench.port = 4;
    bench.app(syn());
    let events = bench.events();
    assert_eq!(events[0], closed(ids[1], CloseCause::Evicted));
    assert!(matches!(events[1], Event::Opening { .. }), "{events:?}");
    assert_eq!((bench.engine.flow_count(), bench.engine.stats().evicted), (3, 1));
}

#[test]
fn flows_with_something_to_do_are_not_evicted() {
    let mut bench = Bench::new(Config::new().max_flows(3));
    bench.port = 1;
    let unread = bench.open();
    bench.app(data(1, 1, "unread"));
    assert_eq!((bench.out().len(), bench.events().len()), (1, 1));
    bench.port = 2;
    let unsent = bench.open();
    bench.app(ack(1, 1).win(0));
    bench.write(unsent, "waits for the window");
    bench.port = 3;
    bench.opening(syn());
    std::iter::from_fn(|| bench.engine.poll_transmit(bench.now)).for_each(drop);
    bench.after_ms(20_000);
    std::iter::from_fn(|| bench.engine.poll_transmit(bench.now)).for_each(drop);
    bench.events();
    bench.port = 4;
    bench.app(syn());
    assert_eq!((bench.events(), bench.engine.stats().table_overflows), (vec![], 1));
    // Once it has been read, the first one is idle.
    bench.read(unread);
    bench.app(syn());
    assert_eq!(bench.events()[0], closed(unread, CloseCause::Evicted));
}

#[test]
fn idle_flows_are_found_behind_any_number_of_busy_ones() {
    let mut bench = Bench::new(Config::new().max_flows(400).budget(1 << 26));
    for port in 1..=399 {
        bench.port = port;
        bench.open();
    }
    bench.port = 400;
    let idle = bench.open();
    bench.after_ms(20_000);
    for port in 1..=399 {
        bench.port = port;
        bench.app(ack(1, 1));
    }
    bench.port = 500;
    for _ in 0..2 {
        bench.app(syn());
    }
    assert_eq!(bench.events()[0], closed(idle, CloseCause::Evicted));
}

#[test]
fn a_flow_that_was_finished_goes_before_one_that_was_not() {
    let mut bench = Bench::new(Config::new().max_flows(2));
    bench.port = 1;
    bench.open();
    bench.after_ms(100);
    bench.port = 2;
    let finished = bench.open();
    bench.finish(finished);
    bench.out();
    bench.app(ack(1, 2));
    bench.after(Duration::from_mins(3));
    bench.port = 1;
    bench.app(ack(1, 1));
    bench.after(Duration::from_secs(30));
    bench.port = 3;
    bench.app(syn());
    assert_eq!(bench.events()[0], closed(finished, CloseCause::Evicted));
}
