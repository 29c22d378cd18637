//! Data both ways, windows, buffers.

mod common;

use std::num::NonZeroU16;

use bytes::Bytes;
use common::bench::{Bench, ack, data, linux_syn, syn};
use common::{assert_pattern, pattern};
use pseudotcp_packet::{SeqNumber, Transport};
use pseudotcp_tcp::{Config, Event};

/// What a piece counts beside its octets.
const PIECE: usize = 128;

#[test]
fn bytes_of_the_app_are_slices_of_its_packet() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    let packet = bench.packet(data(1, 1, vec![7; 1_400]));
    let at = packet.body()[0].as_ptr();
    bench.engine.handle_segment(bench.now, &packet);
    assert_eq!(bench.events(), [Event::Readable { id }]);
    let read = bench.engine.read(bench.now, id, usize::MAX).unwrap();
    assert_eq!((read.as_ptr(), read.len()), (at, 1_400));
    assert_eq!(bench.engine.buffered(), 0);
}

#[test]
fn the_budget_counts_the_buffer_that_bytes_keep_alive_or_they_are_copied_out_of_it() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(syn().wscale(7));
    let large = bench.packet(data(1, 1, pattern(0, 20_000))).with_pinned(65_000);
    bench.engine.handle_segment(bench.now, &large);
    assert_eq!(bench.engine.buffered(), 65_000 + PIECE);
    let small = bench.packet(data(20_001, 1, pattern(20_000, 1_400))).with_pinned(65_000);
    bench.engine.handle_segment(bench.now, &small);
    assert_eq!(bench.engine.buffered(), 65_000 + 1_400 + 2 * PIECE);
    assert_eq!(bench.engine.flows().next().unwrap().unread, 21_400);
    assert_eq!(bench.engine.read(bench.now, id, 19_999).unwrap().len(), 19_999);
    assert_eq!(bench.engine.buffered(), 66_400 + 2 * PIECE, "one byte keeps all of it");
    let rest = bench.read(id);
    assert_pattern(19_999, &rest);
    assert_eq!((rest.len(), bench.engine.buffered()), (1_401, 0));
}

#[test]
fn segments_that_came_together_are_acknowledged_together() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(data(1, 1, "ab"));
    bench.app(data(3, 1, "cd"));
    bench.app(data(5, 1, "ef"));
    assert_eq!(bench.out(), [". 1 ack 7 win 65530"]);
    assert_eq!((bench.read(id), bench.out()), (b"abcdef".to_vec(), vec![]));
}

#[test]
fn readable_is_raised_once_until_the_buffer_is_empty() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(data(1, 1, "ab"));
    bench.app(data(3, 1, "cd"));
    assert_eq!(bench.events(), [Event::Readable { id }]);
    bench.engine.read(bench.now, id, 1);
    bench.app(data(5, 1, "ef"));
    assert_eq!(bench.events(), []);
    bench.read(id);
    bench.app(data(7, 1, "gh"));
    assert_eq!(bench.events(), [Event::Readable { id }]);
}

#[test]
fn d18_a_gap_draws_one_duplicate_for_each_segment_and_is_closed_at_once() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(syn().sack_ok());
    bench.app(data(1, 1, "ab"));
    for seq in [5, 7, 9] {
        bench.app(data(seq, 1, "xy"));
    }
    // The first tells of the progress, three more count as duplicates.
    assert_eq!(bench.out(), vec![". 1 ack 3 win 65534 sack 5-11"; 4]);
    bench.app(data(3, 1, "cd"));
    assert_eq!(bench.out(), [". 1 ack 11 win 65526"]);
    assert_eq!(bench.read(id), b"abcdxyxyxy");
}

#[test]
fn d18_partly_old_segments_are_trimmed_and_old_ones_acknowledged() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(data(1, 1, "abcd"));
    bench.out();
    bench.app(data(1, 1, "abcd"));
    assert_eq!(bench.out(), [". 1 ack 5 win 65532"]);
    bench.app(data(3, 1, "cdef"));
    assert_eq!(bench.out(), [". 1 ack 7 win 65530"]);
    assert_eq!((bench.read(id), bench.engine.stats().duplicates), (b"abcdef".to_vec(), 1));
}

#[test]
fn d20_both_directions_cross_the_wrap_around() {
    let mut bench = Bench::new(Config::new());
    bench.irs = SeqNumber::new(u32::MAX - 2_000);
    let id = bench.open_with(linux_syn());
    let mut at = 0_u32;
    while at < 10_000 {
        bench.app(data(1 + at, 1, pattern(at.into(), 1_000)).ts(1_001, 0));
        at += 1_000;
    }
    assert_eq!(bench.out(), [". 1 ack 10001 win 6942 echo 1001"]);
    assert_pattern(0, &bench.read(id));
    assert_eq!(bench.engine.stats().bytes_in, 10_000);
}

#[test]
fn the_window_is_capacity_less_unread_and_never_taken_back() {
    let mut bench = Bench::new(Config::new().receive_buffer(8_192));
    let id = bench.open();
    bench.app(data(1, 1, vec![0; 1_000]));
    assert_eq!(bench.out(), [". 1 ack 1001 win 7192"]);
    bench.app(data(1_001, 1, vec![0; 7_192]));
    assert_eq!(bench.out(), [". 1 ack 8193 win 0"]);
    bench.app(data(8_193, 1, "x"));
    assert_eq!(bench.out(), [". 1 ack 8193 win 0"], "a probe is answered, its byte is not taken");
    assert_eq!(bench.engine.stats().bytes_dropped, 1);
    assert_eq!(bench.read(id).len(), 8_192);
    assert_eq!(bench.out(), [". 1 ack 8193 win 8192"]);
}

#[test]
fn a_window_update_waits_for_a_worthwhile_amount() {
    let mut bench = Bench::new(Config::new().receive_buffer(60_000));
    let id = bench.open();
    for n in 0..40 {
        bench.app(data(1 + n * 1_000, 1, vec![0; 1_000]));
    }
    assert_eq!(bench.out(), [". 1 ack 40001 win 20000"]);
    bench.engine.read(bench.now, id, 1_000);
    bench.engine.read(bench.now, id, 1_000);
    assert_eq!(bench.out(), [""; 0]);
    bench.engine.read(bench.now, id, 1_000);
    assert_eq!(bench.out(), [". 1 ack 40001 win 23000"], "two segments' worth");
}

#[test]
fn with_a_scale_the_right_edge_does_not_move_back_either() {
    let mut bench = Bench::new(Config::new());
    bench.open_with(syn().wscale(7));
    let (mut at, mut edge) = (1_u32, 0);
    for _ in 0..170 {
        bench.app(data(at, 1, vec![0; 1_460]));
        at += 1_460;
        let window = u32::from(window(&mut bench)) << 3;
        assert!(at + window >= edge, "{edge} -> {}", at + window);
        edge = at + window;
    }
}

fn window(bench: &mut Bench) -> u16 {
    let packet = bench.transmit().unwrap();
    let Transport::Tcp(tcp) = packet.transport() else { panic!() };
    tcp.window()
}

#[test]
fn data_is_cut_by_mss_and_pushed_at_its_end() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.write(id, vec![0; 3_000]);
    assert_eq!(
        bench.out(),
        [". 1+1460 ack 1 win 65535", ". 1461+1460 ack 1 win 65535", "P. 2921+80 ack 1 win 65535"]
    );
}

#[test]
fn timestamps_take_their_room_from_the_segment() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(linux_syn());
    bench.write(id, vec![0; 1_449]);
    for len in [1_448, 1] {
        assert_eq!(bench.transmit().unwrap().payload_len(), len);
    }
}

#[test]
fn super_segments_where_the_device_cuts() {
    let mut bench = Bench::new(Config::new().max_segment_bytes(65_535));
    let id = bench.open_with(syn().wscale(7));
    for _ in 0..10 {
        bench.write(id, vec![0; 16_375]);
    }
    let packet = bench.transmit().unwrap();
    assert_eq!(packet.segment_size().map(NonZeroU16::get), Some(1_460));
    assert_eq!((packet.payload_len(), packet.body().len()), (44 * 1_460, 4));
    assert_eq!(packet.segments().count(), 44);
    let rest = bench.out_bytes().len();
    assert_eq!(packet.payload_len() + rest, 163_750);
}

#[test]
fn a_super_segment_has_few_slices_as_short_pieces_are_joined() {
    let mut bench = Bench::new(Config::new().max_segment_bytes(65_535));
    let id = bench.open_with(syn().wscale(7));
    for _ in 0..20 {
        bench.write(id, vec![0; 1_500]);
    }
    let packet = bench.transmit().unwrap();
    assert_eq!((packet.body().len(), packet.payload_len()), (4, 30_000));
}

#[test]
fn what_is_sent_shares_the_memory_of_what_was_written() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    let written = Bytes::from(vec![1; 4_096]);
    bench.write(id, written.clone());
    assert_eq!(bench.transmit().unwrap().body()[0].as_ptr(), written.as_ptr());
}

#[test]
fn d10_never_past_the_apps_window() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(ack(1, 1).win(3_000));
    bench.write(id, vec![0; 10_000]);
    assert_eq!(bench.out_bytes().len(), 2_920, "the rest would be a silly small segment");
    bench.app(ack(1, 1_461).win(3_000));
    assert_eq!(bench.out_bytes().len(), 1_460);
}

#[test]
fn d10_an_ack_that_advances_brings_its_window_although_its_segment_is_older() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.write(id, vec![0; 10_000]);
    bench.out();
    // A later segment overtakes the one that acknowledges everything and offers less.
    bench.app(data(11, 1, "later"));
    bench.app(data(1, 10_001, "0123456789").win(2_000));
    bench.out();
    bench.write(id, vec![0; 10_000]);
    assert_eq!(bench.out_bytes().len(), 1_460, "a full segment within 2,000 bytes");
}

#[test]
fn a_silly_window_is_used_after_the_override_timeout() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(ack(1, 1).win(100));
    bench.write(id, vec![0; 250]);
    assert_eq!(bench.out(), [""; 0], "less than half of the largest window seen");
    bench.after_ms(200);
    assert_eq!(bench.out(), [". 1+100 ack 1 win 65535"]);
    assert_eq!((bench.engine.stats().retransmissions, bench.engine.stats().timeouts), (0, 0));
}

#[test]
fn d21_a_small_window_is_filled_at_once() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(syn().win(100));
    bench.engine.accept(bench.now, id);
    bench.out();
    bench.app(ack(1, 1).win(100));
    bench.write(id, vec![0; 250]);
    assert_eq!(bench.out(), [". 1+100 ack 1 win 65535"]);
    bench.app(ack(1, 101).win(100));
    assert_eq!(bench.out(), [". 101+100 ack 1 win 65535"]);
    bench.app(ack(1, 201).win(100));
    assert_eq!(bench.out(), ["P. 201+50 ack 1 win 65535"]);
}

#[test]
fn a_closed_window_is_probed_without_end_while_the_app_answers() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(ack(1, 1).win(0));
    bench.write(id, "waiting");
    assert_eq!(bench.out(), [""; 0]);
    for _ in 0..20 {
        let due = bench.engine.poll_timeout().unwrap();
        bench.after(due - bench.now);
        assert_eq!(bench.out(), [". 0 ack 1 win 65535"], "an old number, and no byte");
        bench.app(ack(1, 1).win(0));
    }
    assert!(bench.engine.stats().probes == 20 && bench.events().is_empty());
    bench.app(ack(1, 1).win(1_000));
    assert_eq!(bench.out(), ["P. 1+7 ack 1 win 65535"]);
}

#[test]
fn d19_keep_alives_and_window_probes_are_answered() {
    let mut bench = Bench::new(Config::new());
    bench.open();
    bench.app(ack(0, 1));
    assert_eq!(bench.out(), [". 1 ack 1 win 65535"]);
    bench.app(data(0, 1, "x"));
    assert_eq!(bench.out(), [". 1 ack 1 win 65535"], "a keep-alive with a byte of garbage");
}

#[test]
fn d22_an_idle_flow_buffers_nothing() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(data(1, 1, "request"));
    bench.read(id);
    bench.write(id, "response");
    assert_eq!((bench.out_bytes(), bench.engine.buffered()), (b"response".to_vec(), 8 + PIECE));
    bench.app(ack(8, 9));
    assert_eq!(bench.engine.buffered(), 0);
    let info = bench.engine.flows().next().unwrap();
    assert_eq!((info.bytes_in, info.bytes_out), (7, 8));
}

#[test]
fn write_credit_shrinks_and_writable_says_when_it_is_back() {
    let mut bench = Bench::new(Config::new().send_buffer(10_000));
    let id = bench.open();
    assert_eq!(bench.engine.write_credit(bench.now, id), 10_000);
    bench.write(id, vec![0; 9_000]);
    assert_eq!(bench.engine.write_credit(bench.now, id), 1_000);
    bench.write(id, vec![0; 1_460]);
    assert_eq!(bench.engine.write_credit(bench.now, id), 0);
    bench.out();
    bench.app(ack(1, 1_461));
    assert_eq!(bench.events(), [], "not for so little");
    bench.app(ack(1, 4_381));
    assert_eq!(bench.events(), [Event::Writable { id }]);
    bench.app(ack(1, 5_841));
    assert_eq!(bench.events(), [], "it was told");
    assert_eq!(bench.engine.write_credit(bench.now, id), 10_000 - 4_620);
    bench.app(ack(1, 10_461));
    assert_eq!(bench.events(), [], "no one asked again");
}

#[test]
fn a_super_segment_from_the_app_is_taken_whole() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(linux_syn());
    bench.app(data(1, 1, pattern(0, 65_000)).ts(1_001, 0));
    assert_eq!(bench.out(), [". 1 ack 65001 win 67 echo 1001"]);
    let read = bench.read(id);
    assert_eq!(read.len(), 65_000);
    assert_pattern(0, &read);
}

#[test]
fn tiny_segments_do_not_multiply_memory() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    for n in 0..4_000 {
        bench.app(data(1 + n, 1, "x"));
        bench.out();
    }
    let first = bench.engine.read(bench.now, id, usize::MAX).unwrap();
    assert!(first.len() >= 4_000, "{} in one piece", first.len());
}

#[test]
fn urgent_data_stays_in_line() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open();
    bench.app(data(1, 1, "urgent").with(pseudotcp_packet::TcpFlags::URG));
    assert_eq!(bench.read(id), b"urgent");
}
