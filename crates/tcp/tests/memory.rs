//! What flows cost, by an allocator that counts.

mod common;

use std::alloc::System;

use common::bench::{Bench, ack, data, linux_syn};
use pseudotcp_tcp::Config;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that are allocated and not given back.
fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Opens a flow, has a request and a response pass, and leaves it idle.
fn use_once(bench: &mut Bench) {
    let id = bench.opening(linux_syn());
    bench.engine.accept(bench.now, id);
    assert!(bench.transmit().is_some());
    bench.app(ack(1, 1).ts(1_000, 0));
    bench.app(data(1, 1, "request").ts(1_001, 0));
    assert_eq!(bench.read(id), b"request");
    bench.write(id, "response");
    assert_eq!(bench.out_bytes(), b"response");
    bench.app(ack(8, 9).ts(1_002, 0));
    assert!(bench.events().len() == 1 && bench.transmit().is_none());
    bench.forget();
}

// One test, as others beside it would be counted too.
#[test]
fn d22_an_idle_flow_costs_512_bytes_at_most_and_gives_them_back() {
    const FLOWS: u16 = 20_000;
    let mut bench = Bench::new(Config::new());
    use_once(&mut bench);
    let before = held();
    for n in 0..FLOWS {
        (bench.port, bench.ipv6) = (6_000 + n % 10_000, n >= 10_000);
        use_once(&mut bench);
    }
    assert_eq!((bench.engine.flow_count(), bench.engine.buffered()), (20_001, 0));
    let each = (held() - before) / usize::from(FLOWS);
    println!("{each} bytes for each of {FLOWS} idle flows");
    assert!(each <= 512, "{each} bytes");

    let ids: Vec<_> = bench.engine.flows().map(|info| info.id).collect();
    for id in ids {
        bench.engine.reset(bench.now, id);
        assert!(bench.engine.poll_transmit(bench.now).is_some());
        assert!(bench.engine.poll_event().is_some());
    }
    // Slots, index and lists keep their capacity for the next burst.
    let rest = held().saturating_sub(before) / usize::from(FLOWS);
    assert!(rest <= 64, "{rest} bytes remain of each");
}
