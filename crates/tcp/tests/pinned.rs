//! That the budget counts what buffers keep alive, by an allocator that counts, too.

mod common;

use std::alloc::System;

use bytes::Bytes;
use common::bench::{Bench, ack, data, linux_syn};
use pseudotcp_packet::Packet;
use pseudotcp_tcp::{Config, FlowId};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BUDGET: usize = 4 * 1024 * 1024;
const FLOWS: u16 = 100;
/// What a flow with bytes takes beside them: the least room of its queues, and its ACKs.
const BESIDE: usize = 1_024;

/// Bytes that are allocated and not given back.
fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Opens flows from as many ports.
fn open(bench: &mut Bench) -> Vec<FlowId> {
    let open = |n| {
        bench.port = 5_000 + n;
        let id = bench.opening(linux_syn());
        bench.engine.accept(bench.now, id);
        assert!(bench.transmit().is_some());
        bench.app(ack(1, 1).ts(1_000, 0));
        id
    };
    (0..FLOWS).map(open).collect()
}

/// What lies in a read buffer of this size, whose rest nobody keeps.
fn slice_of(size: usize, data: &[u8]) -> Bytes {
    let mut buffer = vec![0; size];
    buffer[..data.len()].copy_from_slice(data);
    Bytes::from(buffer).slice(..data.len())
}

/// Frames of one length, each from a read buffer of its own, for apps that acknowledge nothing.
fn write_frames(len: usize) {
    let mut bench = Bench::new(Config::new().budget(BUDGET));
    let ids = open(&mut bench);
    let (before, frame, mut written) = (held(), vec![7; len], true);
    while written {
        written = false;
        for &id in &ids {
            if bench.engine.write_credit(bench.now, id) > 0 {
                bench.write(id, slice_of(16_393, &frame));
                written = true;
            }
        }
    }
    check(&bench, before, len);
}

/// Segments of one length, each from a read buffer of its own, for a far side that reads nothing;
/// every third is lost.
fn receive_segments(len: usize) {
    let mut bench = Bench::new(Config::new().budget(BUDGET));
    open(&mut bench);
    let (before, payload) = (held(), vec![7; len]);
    for n in (0..60).filter(|n| n % 3 > 0 || *n < 6) {
        for port in 0..FLOWS {
            bench.port = 5_000 + port;
            let at = 1 + u32::try_from(n * len).unwrap();
            let whole = bench.packet(data(at, 1, payload.clone()).ts(1_000, 0)).to_bytes();
            let packet = Packet::parse(slice_of(65_536, &whole)).unwrap().with_pinned(65_536);
            bench.engine.handle_segment(bench.now, &packet);
        }
        while bench.engine.poll_transmit(bench.now).is_some() {}
    }
    while bench.engine.poll_event().is_some() {}
    check(&bench, before, len);
}

fn check(bench: &Bench, before: usize, len: usize) {
    let (real, counted) = (held() - before, bench.engine.buffered());
    println!("{len}: {real} bytes are held and {counted} counted");
    assert!(counted > BUDGET / 64, "little was taken: {counted}");
    let most = counted + usize::from(FLOWS) * BESIDE;
    assert!(real <= most && counted <= BUDGET, "{real} bytes are held and {counted} counted");
}

// One test, as others beside it would be counted too.
#[test]
fn slices_of_any_length_keep_no_more_memory_alive_than_the_budget_counts() {
    for len in [40, 1_000, 4_000, 4_096, 9_000, 16_375] {
        write_frames(len);
    }
    for len in [40, 1_000, 1_460, 9_000, 30_000] {
        receive_segments(len);
    }
}
