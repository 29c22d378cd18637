//! RFC 9293 §3.8.4: asking a silent app whether it is still there.

mod common;

use std::time::Duration;

use common::bench::{Bench, ack, syn};
use pseudotcp_tcp::{CloseCause, Config, Event};

fn config() -> Config {
    Config::new().keep_alive(Some(Duration::from_secs(100)))
}

#[test]
fn rfc_9293_3_8_4_nobody_is_asked_unless_it_was_wished() {
    let mut bench = Bench::new(Config::new());
    bench.open();
    bench.after(Duration::from_hours(2));
    assert_eq!(bench.out(), [""; 0]);
}

#[test]
fn rfc_9293_3_8_4_an_app_that_answers_is_asked_again_after_the_next_silence() {
    let mut bench = Bench::new(config());
    let id = bench.open();
    for _ in 0..30 {
        bench.after_ms(99_999);
        assert_eq!(bench.out(), [""; 0]);
        bench.after_ms(1);
        assert_eq!(bench.out(), [". 0 ack 1 win 65535"], "an old number, and no octet");
        bench.app(ack(1, 1));
    }
    bench.write(id, "data");
    bench.out();
    bench.after_ms(199);
    assert_eq!(bench.out(), [""; 0]);
}

#[test]
fn rfc_9293_3_8_4_one_lost_answer_is_no_end_but_nine_are() {
    let mut bench = Bench::new(config());
    let id = bench.open();
    bench.after(Duration::from_secs(100 + 8 * 75));
    assert!(!bench.out().is_empty());
    assert_eq!(bench.events(), []);
    bench.after(Duration::from_secs(75));
    assert_eq!(bench.events(), [Event::Closed { id, cause: CloseCause::TimedOut }]);
}

#[test]
fn a_held_syn_is_not_asked() {
    let mut bench = Bench::new(config().open_deadline(Duration::from_hours(1)));
    bench.opening(syn());
    bench.after(Duration::from_mins(30));
    assert_eq!((bench.out(), bench.events()), (vec![], vec![]));
}
