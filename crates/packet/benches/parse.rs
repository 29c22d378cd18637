//! What one packet costs: parse, read, build, cut.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use pseudotcp_packet::build::{TcpSegment, datagram};
use pseudotcp_packet::{
    Checksum, FlowKey, Packet, Protocol, SeqNumber, TcpFlags, TcpOptions, Timestamps, Transport,
};

fn ends(ipv6: bool) -> (SocketAddr, SocketAddr) {
    if ipv6 {
        ((Ipv6Addr::LOCALHOST, 5_000).into(), (Ipv6Addr::LOCALHOST, 80).into())
    } else {
        ((Ipv4Addr::new(10, 0, 0, 1), 5_000).into(), (Ipv4Addr::new(10, 0, 0, 2), 80).into())
    }
}

fn segment(ipv6: bool, segment_size: u16) -> TcpSegment {
    let (source, destination) = ends(ipv6);
    TcpSegment {
        flow: FlowKey::new(Protocol::Tcp, source, destination),
        seq: SeqNumber::new(1),
        ack: Some(SeqNumber::new(2)),
        flags: TcpFlags::PSH,
        window: 65_535,
        options: TcpOptions { timestamps: Some(Timestamps::default()), ..TcpOptions::default() },
        segment_size: NonZeroU16::new(segment_size),
    }
}

/// A packet as a device hands it over: complete, in a buffer that is shared already.
fn wire(packet: &Packet) -> Bytes {
    let octets: BytesMut = packet.segments().flat_map(|piece| piece.to_bytes()).collect();
    let shared = octets.freeze();
    drop(shared.clone());
    shared
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    let payload = Bytes::from(vec![0x5A; 1_448]);
    let (source, destination) = ends(false);
    let inputs = [
        ("tcp ack", segment(false, 0).build(Bytes::new())),
        ("tcp ack over ipv6", segment(true, 0).build(Bytes::new())),
        ("tcp 1448", segment(false, 0).build(payload.clone())),
    ];
    let udp = datagram(source, destination, payload, None).map(|packet| ("udp 1448", packet));
    for (name, packet) in inputs.into_iter().chain(udp) {
        let octets = wire(&packet);
        for checksum in [Checksum::Complete, Checksum::Vouched] {
            group.bench_function(format!("{name} {checksum:?}"), |bencher| {
                bencher.iter(|| Packet::parse_offloaded(octets.clone(), checksum, None));
            });
        }
    }
    group.finish();
}

fn read(criterion: &mut Criterion) {
    let packet = segment(false, 0).build(Bytes::new());
    criterion.bench_function("read/flow", |bencher| bencher.iter(|| black_box(&packet).flow()));
    criterion.bench_function("read/tcp fields and options", |bencher| {
        bencher.iter(|| match black_box(&packet).transport() {
            Transport::Tcp(tcp) => {
                Some((tcp.seq(), tcp.ack(), tcp.flags(), tcp.window(), tcp.options()))
            }
            _ => None,
        });
    });
}

fn build(criterion: &mut Criterion) {
    let acknowledgement = segment(false, 0);
    criterion.bench_function("build/tcp ack", |bencher| {
        bencher.iter(|| black_box(&acknowledgement).build(Bytes::new()));
    });
    let packet = acknowledgement.build(Bytes::new());
    criterion.bench_function("build/complete tcp ack", |bencher| {
        bencher.iter(|| black_box(&packet).segments().next());
    });
    let whole = segment(false, 1_448).build(Bytes::from(vec![0x5A; 45 * 1_448]));
    criterion.bench_function("build/cut 45 segments", |bencher| {
        bencher.iter_batched(|| &whole, |whole| whole.segments().count(), BatchSize::SmallInput);
    });
}

criterion_group!(benches, parse, read, build);
criterion_main!(benches);
