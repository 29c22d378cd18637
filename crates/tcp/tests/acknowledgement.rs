//! When acknowledgements and windows are told: RFC 1122 §4.2.3.2 and RFC 9293 §3.8.6.

mod common;

use common::bench::{Bench, Seg, ack, data, linux_syn, syn};
use pseudotcp_packet::TcpFlags;
use pseudotcp_tcp::{Config, FlowId};

/// A segment that the app does not push.
fn part(seq: u32, len: usize) -> Seg {
    data(seq, 1, vec![7; len]).without(TcpFlags::PSH)
}

/// An open flow whose quick acknowledgements are used up; the app's next number is 1,601.
fn settled(config: Config) -> (Bench, FlowId) {
    let mut bench = Bench::new(config);
    let id = bench.open();
    for n in 0..16 {
        bench.app(part(1 + 100 * n, 100));
        assert_eq!(bench.out().len(), 1, "a new flow is acknowledged at once");
    }
    assert_eq!(bench.read(id).len(), 1_600);
    bench.events();
    (bench, id)
}

#[test]
fn rfc_1122_4_2_3_2_a_single_segment_waits_a_moment() {
    let (mut bench, _) = settled(Config::new());
    bench.app(part(1_601, 1_000));
    assert_eq!(bench.out(), [""; 0]);
    bench.after_ms(3);
    assert_eq!(bench.out(), [""; 0]);
    bench.after_ms(1);
    assert_eq!(bench.out(), [". 1 ack 2601 win 64536"]);
    bench.after_ms(100);
    assert_eq!(bench.out(), [""; 0], "once");
}

#[test]
fn rfc_1122_4_2_3_2_the_second_full_segment_does_not_wait() {
    let (mut bench, _) = settled(Config::new());
    bench.app(part(1_601, 1_460));
    assert_eq!(bench.out(), [""; 0]);
    bench.app(part(3_061, 1_460));
    assert_eq!(bench.out(), [". 1 ack 4521 win 62616"]);
}

#[test]
fn an_acknowledgement_that_waits_travels_with_data() {
    let (mut bench, id) = settled(Config::new());
    bench.app(part(1_601, 1_000));
    bench.write(id, "answer");
    assert_eq!(bench.out(), ["P. 1+6 ack 2601 win 64536"]);
    bench.after_ms(10);
    assert_eq!(bench.out(), [""; 0]);
}

#[test]
fn what_is_pushed_or_fills_a_gap_or_lies_beyond_one_does_not_wait() {
    let (mut bench, _) = settled(Config::new());
    bench.app(data(1_601, 1, "pushed"));
    assert_eq!(bench.out(), [". 1 ack 1607 win 65530"]);
    bench.app(part(1_617, 10));
    assert_eq!(bench.out(), [". 1 ack 1607 win 65530"]);
    bench.app(part(1_627, 10));
    assert_eq!(bench.out(), [". 1 ack 1607 win 65530"]);
    bench.app(part(1_607, 5));
    assert_eq!(bench.out(), [". 1 ack 1612 win 65525"], "a part of the gap");
    bench.app(part(1_637, 5));
    bench.out();
    bench.app(part(1_601, 5));
    assert_eq!(bench.out().len(), 1, "what is old");
}

#[test]
fn without_a_delay_nothing_waits() {
    let (mut bench, _) = settled(Config::new().ack_delay(std::time::Duration::ZERO));
    bench.app(part(1_601, 10));
    assert_eq!(bench.out(), [". 1 ack 1611 win 65526"]);
}

#[test]
fn rfc_9293_3_8_6_2_2_a_small_window_opens_by_whole_segments() {
    let mut bench = Bench::new(Config::new().receive_buffer(8_192));
    let id = bench.open();
    bench.app(data(1, 1, vec![0; 8_192]));
    assert_eq!(bench.out(), [". 1 ack 8193 win 0"]);
    bench.engine.read(bench.now, id, 1_000);
    bench.app(ack(8_192, 1));
    assert_eq!(bench.out(), [". 1 ack 8193 win 0"], "1,000 free octets are no window");
    bench.engine.read(bench.now, id, 460);
    bench.app(ack(8_192, 1));
    assert_eq!(bench.out(), [". 1 ack 8193 win 1460"]);
}

#[test]
fn rfc_9293_3_8_6_the_right_edge_never_moves_back_while_apps_read_and_budgets_shrink() {
    let mut bench = Bench::new(Config::new().receive_buffer(64 * 1024).budget(1 << 20));
    let id = bench.open_with(syn().wscale(7).sack_ok());
    let (mut at, mut edge) = (1_u32, 0);
    for n in 0..400_u32 {
        let len = 1 + n * 37 % 900;
        bench.app(part(at, len as usize));
        at += len;
        if n % 3 == 0 {
            bench.engine.read(bench.now, id, (n * 53 % 1_500) as usize);
        }
        bench.after_ms(5);
        while let Some(packet) = bench.transmit() {
            let pseudotcp_packet::Transport::Tcp(tcp) = packet.transport() else { panic!() };
            // A unit of the scale, which is 2 here.
            let right = at + (u32::from(tcp.window()) << 1);
            assert!(right + 1 >= edge, "{edge} -> {right}");
            edge = right.max(edge);
        }
    }
}

#[test]
fn nothing_is_armed_for_an_acknowledgement_that_has_left() {
    let mut bench = Bench::new(Config::new());
    bench.open_with(linux_syn());
    let idle = bench.engine.poll_timeout().unwrap();
    bench.app(data(1, 1, "pushed").ts(1_001, 0));
    bench.out();
    assert!(bench.engine.poll_timeout().unwrap() >= idle);
}
