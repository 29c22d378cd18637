//! Replies that leave together for a device that takes super-datagrams.

mod support;

use bytes::Bytes;
use proptest::prelude::*;
use pseudotcp_packet::Packet;
use pseudotcp_udp::Config;
use support::{APP, Bench, SERVER};

fn bench() -> Bench {
    Bench::new(Config::default().super_datagrams(true))
}

/// The packets of a device that cuts, as it would put them on the wire.
fn on_the_wire(packets: &[Packet]) -> Vec<(String, Bytes)> {
    let wire = packets.iter().flat_map(Packet::segments);
    wire.map(|packet| Packet::parse(packet.to_bytes()).expect("a valid datagram"))
        .map(|packet| (packet.flow().unwrap().to_string(), packet.body().concat().into()))
        .collect()
}

#[test]
fn replies_of_one_size_leave_together() {
    let mut bench = bench();
    let id = bench.open(APP, SERVER);
    for n in 0..40 {
        bench.demux.write(bench.now, id, Bytes::from(vec![n; 1_200]));
    }
    bench.demux.write(bench.now, id, Bytes::from_static(b"the last is shorter"));
    let packets = bench.packets();
    assert_eq!(packets.iter().map(|packet| packet.body().len()).collect::<Vec<_>>(), [16, 16, 9]);
    let wire = on_the_wire(&packets);
    assert_eq!(wire.len(), 41);
    assert!((0..40).all(|n| wire[usize::from(n)].1 == vec![n; 1_200]));
    assert_eq!(bench.demux.stats().datagrams_out, 41);
    assert!(bench.packets().is_empty());
}

#[test]
fn a_single_reply_is_a_plain_datagram() {
    let mut bench = bench();
    let id = bench.open(APP, SERVER);
    bench.demux.write(bench.now, id, Bytes::from_static(b"alone"));
    let packets = bench.packets();
    assert_eq!((packets.len(), packets[0].segment_size()), (1, None));
}

#[test]
fn a_full_device_bounds_trains_too() {
    let mut bench = Bench::new(Config::default().super_datagrams(true).max_transmit(2));
    let id = bench.open(APP, SERVER);
    for n in 0..100 {
        bench.demux.write(bench.now, id, Bytes::from(vec![n; 100]));
    }
    assert_eq!(bench.demux.write_credit(), 0);
    let packets = bench.packets();
    assert_eq!((packets.len(), on_the_wire(&packets).len()), (2, 32));
    assert_eq!(bench.demux.stats().dropped_transmit, 68);
}

proptest! {
    /// Whatever is written to whichever flow: every datagram leaves whole, those of a flow in order.
    #[test]
    fn d28_trains_carry_every_datagram_whole_and_in_order(
        writes in prop::collection::vec((0..3_usize, prop::sample::select(vec![0, 1, 99, 100, 1_472, 3_000])), 0..80),
    ) {
        let mut bench = Bench::new(Config::default().super_datagrams(true).fragment_replies(true));
        let peers = ["192.0.2.7:1", "192.0.2.7:2", "[2001:db8::7]:3"];
        let apps = [APP, APP, "[fd00::1]:5000"];
        let ids: Vec<_> = apps.into_iter().zip(peers).map(|(app, peer)| bench.open(app, peer)).collect();
        let mut expected = vec![Vec::new(); peers.len()];
        for (n, (flow, len)) in writes.into_iter().enumerate() {
            let payload = Bytes::from(vec![u8::try_from(n).unwrap(); len]);
            bench.demux.write(bench.now, ids[flow], payload.clone());
            expected[flow].push(payload);
        }
        let wire = on_the_wire(&bench.packets());
        for (peer, expected) in peers.into_iter().zip(expected) {
            let from = format!("udp {peer} > ");
            let got: Vec<_> = wire.iter().filter(|(flow, _)| flow.starts_with(&from)).collect();
            prop_assert!(got.iter().map(|(_, payload)| payload).eq(&expected), "{peer}");
        }
    }
}
