//! From the held SYN to the open flow, and every way to refuse.

mod common;

use std::time::Duration;

use common::bench::{Bench, ack, data, fin, linux_syn, rst, syn};
use pseudotcp_packet::{TcpFlags, Transport, Unreachable};
use pseudotcp_tcp::{CloseCause, Config, Event, Refusal, State};

#[test]
fn a_syn_is_held_until_it_is_accepted() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(syn());
    bench.after(Duration::from_secs(10));
    assert_eq!(bench.out(), [""; 0]);
    bench.engine.accept(bench.now, id);
    assert_eq!(bench.out(), ["S. 0 ack 1 win 65535 mss 1460"]);
    bench.app(ack(1, 1));
    assert_eq!((bench.state(id), bench.events()), (State::Established, vec![]));
}

#[test]
fn d08_d12_a_syn_sent_again_is_absorbed_and_the_latest_timestamp_echoed() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(linux_syn());
    bench.after_ms(1_000);
    bench.app(linux_syn().ts(2_000, 0));
    assert_eq!((bench.events(), bench.out()), (vec![], vec![]));
    bench.engine.accept(bench.now, id);
    assert_eq!(bench.out(), ["S. 0 ack 1 win 65535 mss 1460 ws 3 sackok echo 2000"]);
    // The SYN-ACK is lost: the app's next SYN draws another, before our own timer does.
    bench.app(linux_syn().ts(2_500, 0));
    assert_eq!(bench.out(), ["S. 0 ack 1 win 65535 mss 1460 ws 3 sackok echo 2500"]);
    assert_eq!(bench.engine.flow_count(), 1);
}

#[test]
fn d08_a_lost_syn_ack_is_sent_again_with_back_off_and_given_up() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(syn());
    bench.engine.accept(bench.now, id);
    let begin = bench.now;
    let mut times = Vec::new();
    while bench.state(id) == State::SynReceived {
        if bench.out().iter().any(|line| line.starts_with("S.")) {
            times.push((bench.now - begin).as_secs());
        }
        let due = bench.engine.poll_timeout().unwrap();
        bench.after(due - bench.now);
    }
    assert_eq!(times, [0, 1, 3, 7, 15, 31, 63, 123]);
    assert_eq!(bench.events(), [Event::Closed { id, cause: CloseCause::TimedOut }]);
    assert_eq!(bench.engine.poll_timeout(), None);
}

#[test]
fn another_initial_number_cancels_and_opens_anew() {
    let mut bench = Bench::new(Config::new());
    let old = bench.opening(syn());
    bench.irs = bench.irs.advance(77_777);
    bench.app(syn());
    let flow = bench.flow();
    let [
        Event::Closed { id, cause: CloseCause::Cancelled },
        Event::Opening { id: new, flow: opened },
    ] = bench.events()[..]
    else {
        panic!()
    };
    assert_eq!((id, opened), (old, flow));
    assert_ne!(new, old);
    bench.engine.accept(bench.now, old);
    assert_eq!(bench.out(), [""; 0], "the old id is dead");
    bench.engine.accept(bench.now, new);
    assert_eq!(bench.out(), ["S. 0 ack 1 win 65535 mss 1460"]);
    assert_eq!((bench.engine.stats().cancelled, bench.engine.flow_count()), (1, 1));
}

#[test]
fn a_reset_cancels_a_held_syn_if_it_knows_the_place() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(syn());
    bench.app(rst(5));
    assert_eq!(bench.events(), []);
    bench.app(rst(1));
    assert_eq!(bench.events(), [Event::Closed { id, cause: CloseCause::Cancelled }]);
    assert_eq!((bench.out(), bench.engine.poll_timeout()), (vec![], None));
}

#[test]
fn d09_a_refusal_is_a_reset_that_hosts_believe() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(syn());
    bench.engine.refuse(bench.now, id, Refusal::Reset);
    assert_eq!(bench.out(), ["R. 0 ack 1 win 0"]);
    assert_eq!(bench.events(), [Event::Closed { id, cause: CloseCause::Refused }]);
    assert_eq!(bench.engine.stats().refused, 1);
}

#[test]
fn d09_a_refusal_can_be_an_icmp_error_that_quotes_the_syn() {
    for ipv6 in [false, true] {
        let mut bench = Bench::new(Config::new());
        bench.ipv6 = ipv6;
        let id = bench.opening(syn());
        bench.engine.refuse(bench.now, id, Refusal::Unreachable(Unreachable::Host));
        let error = bench.transmit().unwrap();
        let (Transport::Icmp(icmp) | Transport::Icmpv6(icmp)) = error.transport() else { panic!() };
        assert_eq!((icmp.kind(), icmp.code()), if ipv6 { (1, 3) } else { (3, 1) });
        assert_eq!(error.ip().source(), bench.flow().destination().ip());
        assert_eq!(bench.events(), [Event::Closed { id, cause: CloseCause::Refused }]);
    }
}

#[test]
fn a_refusal_for_now_is_silence_and_then_another_opening() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(syn());
    let after = Duration::from_secs(5);
    bench.engine.refuse(bench.now, id, Refusal::Later { after });
    assert_eq!(bench.state(id), State::Silent);
    for _ in 0..4 {
        bench.after_ms(1_000);
        bench.app(syn());
        assert_eq!((bench.events(), bench.out()), (vec![], vec![]));
    }
    bench.after_ms(1_000);
    assert_eq!(bench.events(), [], "nothing happens without a SYN");
    assert_eq!(bench.opening(syn()), id);
    bench.app(syn());
    assert_eq!(bench.events(), [], "raised once");
    bench.engine.accept(bench.now, id);
    assert_eq!(bench.out(), ["S. 0 ack 1 win 65535 mss 1460"]);
}

#[test]
fn no_time_is_too_long() {
    let ever = Duration::MAX;
    let config = Config::new().open_deadline(ever).idle_timeout(ever).closing_timeout(ever);
    let mut bench = Bench::new(config.user_timeout(ever));
    let id = bench.opening(syn());
    bench.engine.refuse(bench.now, id, Refusal::Later { after: ever });
    bench.app(syn());
    bench.port += 1;
    let open = bench.open();
    bench.finish(open);
    assert_eq!((bench.out().len(), bench.state(open)), (1, State::FinWait1));
}

#[test]
fn an_opening_expires_once_and_is_forgotten_in_the_end() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(syn());
    bench.after_ms(29_999);
    assert_eq!(bench.events(), []);
    bench.after_ms(1);
    assert_eq!(bench.events(), [Event::Expired { id }]);
    bench.after_ms(30_000);
    assert_eq!(bench.events(), [Event::Closed { id, cause: CloseCause::TimedOut }]);
    assert_eq!((bench.out(), bench.engine.poll_timeout()), (vec!["R. 0 ack 1 win 0".into()], None));
}

#[test]
fn the_backlog_overflows_silently() {
    let mut bench = Bench::new(Config::new().backlog(4));
    for port in 1..=6 {
        bench.port = port;
        bench.app(syn());
    }
    assert_eq!((bench.events().len(), bench.engine.flow_count()), (4, 4));
    assert_eq!((bench.out(), bench.engine.stats().backlog_overflows), (vec![], 2));
    bench.port = 1;
    bench.app(rst(1));
    assert_eq!(bench.events().len(), 1);
    bench.port = 6;
    bench.opening(syn());
}

#[test]
fn a_full_table_takes_no_more_flows() {
    let mut bench = Bench::new(Config::new().max_flows(1));
    bench.open();
    bench.port += 1;
    bench.app(syn());
    assert_eq!((bench.events(), bench.engine.stats().table_overflows), (vec![], 1));
}

#[test]
fn d14_the_mss_offered_follows_from_mtu_and_version() {
    for (mtu, ipv6, mss) in [(1_500, false, 1_460), (1_500, true, 1_440), (9_000, false, 8_960)] {
        let mut bench = Bench::new(Config::new().mtu(mtu));
        bench.ipv6 = ipv6;
        let id = bench.opening(syn());
        bench.engine.accept(bench.now, id);
        assert_eq!(bench.out(), [format!("S. 0 ack 1 win 65535 mss {mss}")]);
    }
}

#[test]
fn d14_the_apps_mss_is_honoured_and_has_the_defaults_of_the_rfc() {
    for (mss, ipv6, expected) in [
        (Some(1_000), false, 1_000),
        (None, false, 536),
        (None, true, 1_220),
        (Some(9_000), false, 1_460),
    ] {
        let mut bench = Bench::new(Config::new());
        bench.ipv6 = ipv6;
        let id = bench.open_with(syn().mss(mss));
        bench.write(id, vec![0; 10_000]);
        assert_eq!(bench.transmit().unwrap().payload_len(), expected);
    }
}

#[test]
fn d15_window_scaling_only_where_the_app_offers_it() {
    let mut bench = Bench::new(Config::new().receive_buffer(u32::MAX));
    let id = bench.opening(syn());
    bench.engine.accept(bench.now, id);
    assert_eq!(bench.out(), ["S. 0 ack 1 win 65535 mss 1460"]);
    let mut bench = Bench::new(Config::new().receive_buffer(u32::MAX));
    let id = bench.opening(syn().wscale(0));
    bench.engine.accept(bench.now, id);
    assert_eq!(bench.out(), ["S. 0 ack 1 win 65535 mss 1460 ws 14"]);
}

#[test]
fn d15_the_apps_window_is_scaled_by_its_own_shift_and_that_of_a_syn_is_not() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(syn().wscale(2).win(4));
    bench.engine.accept(bench.now, id);
    bench.out();
    bench.app(ack(1, 1).win(250));
    bench.write(id, vec![0; 5_000]);
    assert_eq!(bench.out_bytes().len(), 1_000);
}

#[test]
fn no_timestamps_and_no_sack_unless_offered() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(data(10, 1, "later"));
    assert_eq!(bench.out(), [". 1 ack 1 win 65535"]);
    let mut bench = Bench::new(Config::new());
    bench.open_with(linux_syn());
    bench.app(data(10, 1, "later").ts(1_001, 0));
    assert_eq!(bench.out(), [". 1 ack 1 win 8192 echo 1000 sack 10-15"]);
    let _ = id;
}

#[test]
fn d17_initial_numbers_differ_between_flows_and_engines() {
    let number = |secret: u8, port: u16| {
        let mut bench = Bench::new(Config::new());
        bench.engine = pseudotcp_tcp::Engine::new(Config::new(), [secret; 16]);
        bench.port = port;
        let id = bench.opening(syn());
        bench.engine.accept(bench.now, id);
        bench.out();
        bench.iss().to_u32()
    };
    let numbers = [number(1, 1), number(1, 2), number(2, 1)];
    assert!(numbers[0] != numbers[1] && numbers[0] != numbers[2] && !numbers.contains(&0));
    assert_eq!(number(1, 1), number(1, 1));
}

#[test]
fn d03_flows_are_told_apart_by_the_whole_five_tuple() {
    let mut bench = Bench::new(Config::new());
    let one = bench.open();
    bench.ipv6 = true;
    let two = bench.open();
    bench.app(data(1, 1, "second"));
    assert_eq!(bench.events(), [Event::Readable { id: two }]);
    assert_eq!((bench.read(one), bench.read(two)), (vec![], b"second".to_vec()));
}

#[test]
fn the_last_acknowledgement_may_carry_data_and_fin() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(syn());
    bench.engine.accept(bench.now, id);
    bench.out();
    bench.app(data(1, 1, "GET").with(TcpFlags::FIN));
    assert_eq!(bench.events(), [Event::Readable { id }, Event::Finished { id }]);
    assert_eq!(bench.out(), [". 1 ack 5 win 65533"]);
    assert_eq!((bench.read(id), bench.state(id)), (b"GET".to_vec(), State::CloseWait));
}

#[test]
fn an_acknowledgement_of_something_else_is_reset_and_the_handshake_goes_on() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(syn());
    bench.engine.accept(bench.now, id);
    bench.out();
    bench.app(ack(1, 2));
    assert_eq!(bench.out(), ["R 2 win 0"]);
    bench.app(ack(1, 1));
    assert_eq!(bench.state(id), State::Established);
}

#[test]
fn data_written_before_the_handshake_ends_waits_for_it() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(syn());
    bench.engine.accept(bench.now, id);
    bench.write(id, "hello");
    bench.finish(id);
    assert_eq!(bench.out(), ["S. 0 ack 1 win 65535 mss 1460"]);
    bench.app(ack(1, 1));
    assert_eq!(bench.out(), ["FP. 1+5 ack 1 win 65535"]);
}

#[test]
fn data_in_a_held_syn_is_neither_taken_nor_acknowledged() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(data(0, 0, "early").with(TcpFlags::SYN).without_ack());
    bench.engine.accept(bench.now, id);
    assert_eq!(bench.out(), ["S. 0 ack 1 win 65535 mss 1460"]);
    bench.app(data(1, 1, "early"));
    assert_eq!(bench.read(id), b"early");
}

#[test]
fn a_stray_segment_at_a_held_syn_is_reset_and_changes_nothing() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(syn());
    bench.app(fin(1, 9));
    assert_eq!((bench.out(), bench.state(id)), (vec!["R 9 win 0".into()], State::Held));
}

#[test]
fn syn_with_fin_or_reset_opens_nothing() {
    let mut bench = Bench::new(Config::new());
    bench.app(syn().with(TcpFlags::RST));
    bench.app(syn().with(TcpFlags::FIN));
    assert_eq!((bench.events(), bench.engine.flow_count()), (vec![], 0));
}

#[test]
fn nothing_is_armed_without_flows() {
    let bench = Bench::new(Config::new());
    assert_eq!((bench.engine.poll_timeout(), bench.engine.buffered()), (None, 0));
}
