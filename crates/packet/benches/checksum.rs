//! The Internet checksum over pieces of usual lengths, beside `pnet_packet`'s routine.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pseudotcp_packet::checksum::Sum;

const LENGTHS: [usize; 4] = [40, 576, 1_480, 65_495];

fn checksum(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksum");
    for len in LENGTHS {
        let octets: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap_or(0)).collect();
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::new("ours", len), &octets, |bencher, octets| {
            bencher.iter(|| Sum::default().with(black_box(octets)).checksum());
        });
        group.bench_with_input(BenchmarkId::new("pnet", len), &octets, |bencher, octets| {
            bencher.iter(|| pnet_packet::util::checksum(black_box(octets), usize::MAX));
        });
    }
    group.finish();
}

fn split(criterion: &mut Criterion) {
    let pieces = vec![vec![0x5A_u8; 183]; 8];
    criterion.bench_function("checksum/eight odd pieces of 183", |bencher| {
        bencher.iter(|| {
            let sum = black_box(&pieces).iter().fold(Sum::default(), |sum, piece| sum.with(piece));
            sum.checksum()
        });
    });
}

criterion_group!(benches, checksum, split);
criterion_main!(benches);
