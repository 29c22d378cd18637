//! Explicit congestion notification (RFC 3168), agreed to when the app asks.

mod common;

use bytes::Bytes;
use common::bench::{Bench, Seg, ack, data, syn};
use pseudotcp_packet::{Ecn, Packet, TcpFlags};
use pseudotcp_tcp::{Config, CongestionControl, FlowId};

fn ecn_syn() -> Seg {
    syn().mss(Some(1_000)).with(TcpFlags::ECE | TcpFlags::CWR)
}

/// An open flow that has agreed.
fn open(config: Config) -> (Bench, FlowId) {
    let mut bench = Bench::new(config);
    let id = bench.open_with(ecn_syn());
    (bench, id)
}

impl Bench {
    /// The app's segment was marked on its way.
    fn marked(&mut self, seg: Seg) {
        let mut octets = self.packet(seg).to_bytes().to_vec();
        octets[1] |= Ecn::Ce.bits();
        octets[10..12].fill(0);
        let sum: u32 =
            octets[..20].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
        let folded = (sum & 0xFFFF) + (sum >> 16);
        octets[10..12].copy_from_slice(&(!u16::try_from(folded).unwrap()).to_be_bytes());
        let packet = Packet::parse(Bytes::from(octets)).unwrap();
        self.engine.handle_segment(self.now, &packet);
    }
}

#[test]
fn rfc_3168_6_1_1_an_ecn_setup_syn_is_answered_in_kind() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(ecn_syn());
    bench.engine.accept(bench.now, id);
    let syn_ack = bench.transmit().unwrap();
    assert_eq!(syn_ack.ip().ecn(), Ecn::NotEct);
    assert!(syn_ack.to_string().contains("SE."), "{syn_ack}");
}

#[test]
fn rfc_3168_6_1_1_nothing_else_is_an_ecn_setup_syn() {
    for (flags, config) in [
        (TcpFlags::ECE, Config::new()),
        (TcpFlags::CWR, Config::new()),
        (TcpFlags::ECE | TcpFlags::CWR, Config::new().ecn(false)),
    ] {
        let mut bench = Bench::new(config);
        let id = bench.opening(syn().with(flags));
        bench.engine.accept(bench.now, id);
        assert_eq!(bench.out(), ["S. 0 ack 1 win 65535 mss 1460"]);
    }
}

#[test]
fn rfc_3168_6_1_1_1_an_app_that_tries_without_has_none() {
    let mut bench = Bench::new(Config::new());
    let id = bench.opening(ecn_syn());
    bench.app(syn());
    bench.engine.accept(bench.now, id);
    assert_eq!(bench.out(), ["S. 0 ack 1 win 65535 mss 1460"]);
}

#[test]
fn rfc_3168_6_1_3_a_mark_is_echoed_until_the_app_has_slowed_down() {
    let (mut bench, id) = open(Config::new());
    bench.app(data(1, 1, "a"));
    assert_eq!(bench.out(), [". 1 ack 2 win 65535"]);
    bench.marked(data(2, 1, "b"));
    assert_eq!(bench.out(), ["E. 1 ack 3 win 65534"]);
    bench.app(data(3, 1, "c"));
    assert_eq!(bench.out(), ["E. 1 ack 4 win 65533"]);
    bench.write(id, "data too");
    assert_eq!(bench.out(), ["PE. 1+8 ack 4 win 65533"]);
    bench.app(data(4, 1, "d").with(TcpFlags::CWR));
    assert_eq!(bench.out(), [". 9 ack 5 win 65532"]);
    assert_eq!(bench.engine.stats().marks_in, 1);
}

#[test]
fn a_mark_means_nothing_where_nothing_was_agreed() {
    let mut bench = Bench::new(Config::new());
    bench.open();
    bench.marked(data(1, 1, "a"));
    assert_eq!(
        (bench.out(), bench.engine.stats().marks_in),
        (vec![". 1 ack 2 win 65535".into()], 0)
    );
}

#[test]
fn rfc_3168_6_1_2_a_gateway_marks_new_data_as_capable_and_slows_down_once_in_a_window() {
    let (mut bench, id) = open(Config::new().congestion(CongestionControl::Cubic));
    bench.write(id, vec![0; 30_000]);
    let first = bench.transmit().unwrap();
    assert_eq!((first.ip().ecn(), first.payload_len()), (Ecn::Ect0, 1_000));
    assert_eq!(bench.out().len(), 9);
    bench.app(ack(1, 1_001).with(TcpFlags::ECE));
    bench.app(ack(1, 2_001).with(TcpFlags::ECE));
    assert_eq!(bench.engine.stats().marks_reported, 1);
    bench.app(ack(1, 5_001).with(TcpFlags::ECE));
    let out = bench.out();
    assert!(out[0].starts_with("W. 10001+1000"), "{out:?}");
    assert!(out[1..].iter().all(|line| line.starts_with(". ")), "{out:?}");
    assert!(out.len() < 5, "the window has shrunk: {out:?}");
}

#[test]
fn rfc_3168_6_1_5_what_goes_again_is_not_marked_as_capable() {
    let (mut bench, id) = open(Config::new().congestion(CongestionControl::Cubic));
    bench.write(id, "lost");
    assert_eq!(bench.transmit().unwrap().ip().ecn(), Ecn::Ect0);
    bench.after_ms(200);
    assert_eq!(bench.transmit().unwrap().ip().ecn(), Ecn::NotEct);
    bench.app(data(1, 5, "x"));
    assert_eq!(bench.transmit().unwrap().ip().ecn(), Ecn::NotEct, "a bare acknowledgement");
}

#[test]
fn where_no_one_would_slow_down_nothing_is_marked_as_capable() {
    let (mut bench, id) = open(Config::new());
    bench.write(id, "data");
    assert_eq!(bench.transmit().unwrap().ip().ecn(), Ecn::NotEct);
}
