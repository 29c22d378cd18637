//! FIN and RST both ways, half-close, TIME-WAIT, and everything that ends by itself.

mod common;

use std::time::Duration;

use common::bench::{Bench, ack, data, fin, linux_syn, rst, syn};
use pseudotcp_packet::TcpFlags;
use pseudotcp_tcp::{CloseCause, Config, Event, State};

fn closed(id: pseudotcp_tcp::FlowId, cause: CloseCause) -> Event {
    Event::Closed { id, cause }
}

#[test]
fn d01_the_servers_end_of_stream_is_a_fin_after_all_data() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.write(id, vec![1; 2_000]);
    bench.finish(id);
    assert_eq!(bench.out(), [". 1+1460 ack 1 win 65535", "FP. 1461+540 ack 1 win 65535"]);
    assert_eq!(bench.state(id), State::FinWait1);
    bench.write(id, "too late");
    bench.app(ack(1, 2_002));
    assert_eq!((bench.state(id), bench.out()), (State::FinWait2, vec![]));
}

#[test]
fn d04_fin_is_half_close() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(data(1, 1, "request").with(TcpFlags::FIN));
    assert_eq!(bench.events(), [Event::Readable { id }, Event::Finished { id }]);
    assert_eq!(
        (bench.out(), bench.read(id)),
        (vec![". 1 ack 9 win 65529".into()], b"request".into())
    );
    // An hour later the answer comes.
    bench.after(Duration::from_hours(1));
    bench.write(id, "answer");
    assert_eq!(bench.out(), ["P. 1+6 ack 9 win 65535"]);
    bench.app(ack(9, 7));
    bench.finish(id);
    assert_eq!(
        (bench.out(), bench.state(id)),
        (vec!["F. 7 ack 9 win 65535".into()], State::LastAck)
    );
    bench.app(ack(9, 8));
    assert_eq!(bench.events(), [closed(id, CloseCause::Clean)]);
    assert_eq!((bench.engine.flow_count(), bench.engine.poll_timeout()), (0, None));
}

#[test]
fn the_app_goes_on_after_our_fin() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.finish(id);
    bench.out();
    bench.app(ack(1, 2));
    for n in 0..5 {
        bench.app(data(1 + 3 * n, 2, "abc"));
        assert_eq!((bench.read(id), bench.out().len()), (b"abc".to_vec(), 1));
        bench.after(Duration::from_mins(3));
    }
    bench.app(fin(16, 2));
    assert_eq!(bench.out(), [". 2 ack 17 win 65535"]);
    let last = bench.events().pop();
    assert_eq!(last, Some(closed(id, CloseCause::Clean)));
    assert_eq!(bench.engine.stats().time_waits, 1);
}

#[test]
fn a_fin_out_of_order_waits_for_its_place() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(fin(7, 1));
    bench.app(data(4, 1, "def"));
    assert_eq!((bench.events(), bench.out().len()), (vec![], 2));
    bench.app(data(1, 1, "abc"));
    assert_eq!(bench.events(), [Event::Readable { id }, Event::Finished { id }]);
    assert_eq!(
        (bench.out(), bench.read(id)),
        (vec![". 1 ack 8 win 65530".into()], b"abcdef".into())
    );
}

#[test]
fn data_after_fin_is_refused() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(data(1, 1, "abc").with(TcpFlags::FIN));
    bench.events();
    bench.app(data(5, 1, "more"));
    bench.app(data(1, 1, "abcXmore"));
    assert_eq!((bench.read(id), bench.events()), (b"abc".to_vec(), vec![]));
    assert_eq!(bench.out(), [". 1 ack 5 win 65535"]);
}

#[test]
fn simultaneous_close() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.finish(id);
    assert_eq!(bench.out(), ["F. 1 ack 1 win 65535"]);
    bench.app(fin(1, 1));
    assert_eq!(
        (bench.state(id), bench.out()),
        (State::Closing, vec![". 2 ack 2 win 65535".into()])
    );
    bench.app(ack(2, 2));
    assert_eq!(bench.events(), [Event::Finished { id }, closed(id, CloseCause::Clean)]);
    assert_eq!(bench.engine.stats().time_waits, 1);
}

#[test]
fn a_lost_fin_is_sent_again() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.finish(id);
    bench.out();
    bench.after_ms(200);
    assert_eq!(bench.out(), ["F. 1 ack 1 win 65535"]);
    bench.after_ms(400);
    assert_eq!(bench.out(), ["F. 1 ack 1 win 65535"]);
    bench.app(fin(1, 2));
    assert_eq!((bench.state(id), bench.out()), (State::Closed, vec![". 2 ack 2 win 65535".into()]));
}

#[test]
fn d10_a_fin_waits_for_the_window_too() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(ack(1, 1).win(4));
    bench.write(id, "data");
    bench.finish(id);
    assert_eq!(bench.out(), ["P. 1+4 ack 1 win 65535"]);
    bench.app(ack(1, 5).win(0));
    assert_eq!(bench.out(), [""; 0]);
    let due = bench.engine.poll_timeout().unwrap();
    bench.after(due - bench.now);
    assert_eq!(bench.out(), [". 4 ack 1 win 65535"], "a probe");
    bench.app(ack(1, 5).win(1));
    assert_eq!(
        (bench.out(), bench.state(id)),
        (vec!["F. 5 ack 1 win 65535".into()], State::FinWait1)
    );
}

#[test]
fn the_apps_fin_is_taken_at_a_closed_window() {
    let mut bench = Bench::new(Config::new().receive_buffer(4_096));
    let id = bench.open();
    bench.app(data(1, 1, vec![0; 4_096]));
    assert_eq!(bench.out(), [". 1 ack 4097 win 0"]);
    bench.app(fin(4_097, 1));
    assert_eq!(bench.events(), [Event::Readable { id }, Event::Finished { id }]);
    assert_eq!(bench.out(), [". 1 ack 4098 win 0"]);
}

#[test]
fn unread_bytes_outlive_the_connection() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(data(1, 1, "upload").with(TcpFlags::FIN));
    bench.finish(id);
    bench.out();
    bench.app(ack(8, 2));
    assert_eq!(bench.events(), [Event::Readable { id }, Event::Finished { id }]);
    // The port is free at once, and used again.
    let new = bench.opening(syn().seq(1_000));
    assert_ne!(new, id);
    assert_eq!(bench.read(id), b"upload");
    assert_eq!(bench.events(), [closed(id, CloseCause::Clean)]);
    assert_eq!(bench.engine.flow_count(), 1);
}

#[test]
fn d02_the_port_is_free_for_a_newer_syn_at_once() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.finish(id);
    bench.out();
    bench.app(fin(1, 2));
    bench.out();
    let old = bench.iss();
    bench.events();
    bench.app(syn().seq(1));
    assert_eq!(
        (bench.events(), bench.out()),
        (vec![], vec![". 2 ack 2 win 65535".into()]),
        "too old"
    );
    let new = bench.opening(syn().seq(3));
    bench.engine.accept(bench.now, new);
    let answer = bench.transmit().unwrap();
    assert!(bench.iss().offset_from(old.advance(2)) > 0, "{answer}");
    let _ = id;
}

#[test]
fn time_wait_answers_and_ends() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.finish(id);
    bench.out();
    bench.app(fin(1, 2));
    bench.out();
    bench.after_ms(900);
    bench.app(fin(1, 2));
    assert_eq!(bench.out(), [". 2 ack 2 win 65535"], "the last ACK was lost");
    bench.app(rst(2));
    bench.after_ms(900);
    bench.app(fin(1, 2));
    assert_eq!(bench.out(), [". 2 ack 2 win 65535"], "RST does not end it (RFC 1337)");
    bench.after_ms(1_000);
    assert_eq!(bench.engine.poll_timeout(), None);
    bench.app(fin(1, 2));
    assert_eq!(bench.out(), ["R 2 win 0"]);
    let _ = id;
}

#[test]
fn time_wait_is_reopened_by_a_newer_timestamp() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(linux_syn());
    bench.finish(id);
    bench.out();
    bench.app(fin(1, 2).ts(1_010, 0));
    assert_eq!(bench.out(), [". 2 ack 2 win 8192 echo 1010"]);
    bench.events();
    bench.app(linux_syn().seq(0).ts(1_010, 0));
    assert_eq!(bench.events(), []);
    bench.out();
    bench.opening(linux_syn().seq(0).ts(1_011, 0));
}

#[test]
fn a_reset_from_the_app_ends_the_flow_at_once() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(data(1, 1, "unread"));
    bench.out();
    bench.write(id, "unsent");
    bench.app(rst(7));
    assert_eq!(bench.events(), [Event::Readable { id }, closed(id, CloseCause::Reset)]);
    assert_eq!((bench.out(), bench.engine.buffered()), (vec![], 0), "a closed flow emits nothing");
}

#[test]
fn rfc_2525_a_reset_by_us_is_an_rst_with_the_right_numbers() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(data(1, 1, "unread"));
    bench.write(id, "sent");
    bench.out();
    bench.write(id, "unsent");
    bench.engine.reset(bench.now, id);
    assert_eq!(bench.out(), ["R. 5 ack 7 win 0"]);
    assert_eq!(bench.events().pop(), Some(closed(id, CloseCause::Aborted)));
    bench.engine.reset(bench.now, id);
    assert_eq!((bench.out(), bench.events()), (vec![], vec![]));
}

#[test]
fn a_reset_while_opening_is_believed_too() {
    for accepted in [false, true] {
        let mut bench = Bench::new(Config::new());
        let id = bench.opening(syn());
        if accepted {
            bench.engine.accept(bench.now, id);
            bench.out();
        }
        bench.engine.reset(bench.now, id);
        assert_eq!(bench.out(), [if accepted { "R. 1 ack 1 win 0" } else { "R. 0 ack 1 win 0" }]);
        assert_eq!(bench.events(), [closed(id, CloseCause::Aborted)]);
    }
}

#[test]
fn d23_an_idle_flow_ends_after_two_hours_and_four_minutes() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.after(Duration::from_mins(124) - Duration::from_millis(1));
    assert_eq!(bench.events(), []);
    bench.app(ack(0, 1));
    bench.out();
    bench.after(Duration::from_mins(124) - Duration::from_millis(1));
    assert_eq!(bench.events(), [], "a keep-alive counts");
    bench.after_ms(1);
    assert_eq!(bench.events(), [closed(id, CloseCause::TimedOut)]);
    assert_eq!((bench.out(), bench.engine.poll_timeout()), (vec!["R. 1 ack 1 win 0".into()], None));
}

#[test]
fn d23_an_app_that_never_finishes_is_reset() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.finish(id);
    bench.out();
    bench.app(ack(1, 2));
    bench.after(Duration::from_mins(4));
    assert_eq!(bench.events(), [closed(id, CloseCause::TimedOut)]);
    assert_eq!(bench.out(), ["R. 2 ack 1 win 0"]);
}

#[test]
fn d23_unanswered_data_is_given_up_after_the_user_timeout() {
    let mut bench = Bench::new(Config::new().user_timeout(Duration::from_secs(10)));
    let id = bench.open();
    bench.write(id, "anyone?");
    let mut sent = 0;
    while bench.state(id) == State::Established {
        sent += bench.out().len();
        let due = bench.engine.poll_timeout().unwrap();
        bench.after(due - bench.now);
    }
    // At 0, 0.2, 0.6, 1.4, 3, 6.2 s; given up at 12.6.
    assert_eq!((sent, bench.events()), (6, vec![closed(id, CloseCause::TimedOut)]));
    assert_eq!(bench.out(), ["R. 8 ack 1 win 0"]);
}

#[test]
fn d23_unanswered_window_probes_are_given_up_too() {
    let mut bench = Bench::new(Config::new().user_timeout(Duration::from_secs(10)));
    let id = bench.open();
    bench.app(ack(1, 1).win(0));
    bench.write(id, "anyone?");
    bench.out();
    bench.after(Duration::from_secs(30));
    assert_eq!(bench.events(), [closed(id, CloseCause::TimedOut)]);
}

#[test]
fn d50_stale_ids_are_harmless() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.engine.reset(bench.now, id);
    bench.out();
    bench.events();
    bench.port += 1;
    let next = bench.open();
    assert!(next != id && next.to_string().starts_with("0."), "{next} in the same slot");
    bench.write(id, "nobody");
    bench.finish(id);
    bench.engine.accept(bench.now, id);
    assert_eq!((bench.read(id), bench.engine.write_credit(bench.now, id)), (vec![], 0));
    bench.engine.reset(bench.now, id);
    assert_eq!(
        (bench.out(), bench.events(), bench.state(next)),
        (vec![], vec![], State::Established)
    );
}
