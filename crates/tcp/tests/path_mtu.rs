//! What the way to the app can carry, as ICMP says (RFC 1191, RFC 8201).

mod common;

use common::bench::{Bench, ack, linux_syn, syn};
use pseudotcp_tcp::{Config, FlowId};

impl Bench {
    /// An ICMP error quotes a segment of ours.
    fn too_big(&mut self, seq: u32, mtu: u32) {
        let (quoted, seq) = (self.flow().reversed(), self.iss().advance(seq));
        self.engine.handle_too_big(self.now, &quoted, seq, mtu);
    }
}

/// An open flow with two full segments in flight.
fn in_flight(ipv6: bool) -> (Bench, FlowId) {
    let mut bench = Bench::new(Config::new());
    bench.ipv6 = ipv6;
    let id = bench.open();
    bench.write(id, vec![0; 2_880]);
    assert_eq!(bench.out_bytes().len(), 2_880);
    (bench, id)
}

#[test]
fn rfc_1191_what_did_not_fit_goes_again_in_smaller_segments() {
    let (mut bench, id) = in_flight(false);
    bench.too_big(1, 1_040);
    assert_eq!(
        bench.out(),
        [". 1+1000 ack 1 win 65535", ". 1001+1000 ack 1 win 65535", "P. 2001+880 ack 1 win 65535"]
    );
    bench.app(ack(1, 2_881));
    bench.write(id, vec![0; 1_500]);
    assert_eq!(bench.out(), [". 2881+1000 ack 1 win 65535", "P. 3881+500 ack 1 win 65535"]);
    assert_eq!(bench.engine.stats().path_mtu_reductions, 1);
}

#[test]
fn rfc_5927_an_error_that_quotes_nothing_in_flight_is_not_believed() {
    let (mut bench, _) = in_flight(false);
    for seq in [0, 2_881, 0_u32.wrapping_sub(5)] {
        bench.too_big(seq, 1_040);
    }
    bench.port += 1;
    bench.too_big(1, 1_040);
    bench.port -= 1;
    let stats = bench.engine.stats();
    assert_eq!((stats.path_mtu_reductions, stats.dropped), (0, 4));
    bench.app(ack(1, 2_881));
    bench.too_big(1, 1_040);
    assert_eq!((bench.out().len(), bench.engine.stats().path_mtu_reductions), (0, 0));
}

#[test]
fn rfc_1191_a_larger_mtu_changes_nothing_and_a_tiny_one_has_a_floor() {
    let (mut bench, _) = in_flight(false);
    bench.too_big(1, 1_500);
    assert_eq!(bench.out(), [""; 0]);
    bench.too_big(1, 68);
    assert_eq!(bench.transmit().unwrap().total_len(), 552);
}

#[test]
fn rfc_1191_a_router_that_does_not_say_means_the_next_plateau() {
    let (mut bench, _) = in_flight(false);
    bench.too_big(1, 0);
    assert_eq!(bench.transmit().unwrap().total_len(), 1_492);
}

#[test]
fn rfc_8201_ipv6_never_goes_below_its_least_mtu() {
    let (mut bench, _) = in_flight(true);
    bench.too_big(1, 1_279);
    assert_eq!(bench.out(), [""; 0]);
    bench.too_big(1, 1_280);
    assert_eq!(bench.transmit().unwrap().total_len(), 1_280);
}

#[test]
fn rfc_9293_options_take_their_room_from_the_smaller_segment_too() {
    let mut bench = Bench::new(Config::new());
    let id = bench.open_with(linux_syn());
    bench.write(id, vec![0; 1_448]);
    bench.out();
    bench.too_big(1, 1_000);
    assert_eq!(bench.transmit().unwrap().total_len(), 1_000);
}

#[test]
fn super_segments_are_cut_into_smaller_pieces() {
    let mut bench = Bench::new(Config::new().max_segment_bytes(65_535));
    let id = bench.open_with(syn().wscale(7));
    bench.write(id, vec![0; 20_000]);
    bench.out();
    bench.too_big(1, 1_040);
    let again = bench.transmit().unwrap();
    assert!(again.segments().all(|piece| piece.total_len() <= 1_040), "{again}");
}
