//! The TCP engine alone: bulk both ways, in segments of the MTU and in super-segments.

use std::time::Instant;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pseudotcp_benches::{Peer, SEGMENT};
use pseudotcp_masque::MAX_CHUNK;
use pseudotcp_packet::Packet;
use pseudotcp_tcp::{Config, Engine, Event, FlowId};

/// How many segments arrive together.
const BATCH: usize = 32;
/// The payload of a super-segment.
const SUPER_SEGMENT: usize = 44 * SEGMENT;

/// An engine with one open flow.
struct World {
    engine: Engine,
    peer: Peer,
    id: FlowId,
    now: Instant,
}

impl World {
    fn new(super_segments: bool) -> Self {
        #[expect(clippy::disallowed_methods, reason = "time begins somewhere, and stands still")]
        let now = Instant::now();
        let largest = if super_segments { 65_535 } else { 0 };
        let mut engine = Engine::new(Config::default().max_segment_bytes(largest), [7; 16]);
        let mut peer = Peer::new(1);
        engine.handle_segment(now, &peer.syn());
        let Some(Event::Opening { id, .. }) = engine.poll_event() else {
            panic!("a SYN opens a flow");
        };
        engine.accept(now, id);
        let syn_ack = engine.poll_transmit(now).expect("an accepted SYN is answered");
        peer.receive(&syn_ack);
        engine.handle_segment(now, &peer.acknowledgement());
        Self { engine, peer, id, now }
    }

    fn segments(&mut self, size: usize, count: usize) -> Vec<Packet> {
        let payload = Bytes::from(vec![7; size]);
        (0..count).map(|_| self.peer.data(payload.clone())).collect()
    }

    /// App → target: a batch arrives, is read, and is acknowledged.
    fn up(&mut self, batch: &[Packet]) {
        for packet in batch {
            self.engine.handle_segment(self.now, packet);
        }
        while self.engine.poll_event().is_some() {}
        while self.engine.read(self.now, self.id, MAX_CHUNK).is_some() {}
        while self.engine.poll_transmit(self.now).is_some() {}
    }

    /// Target → app: a chunk is written, sent and acknowledged.
    fn down(&mut self, chunk: Bytes) {
        self.engine.write(self.now, self.id, chunk);
        while let Some(packet) = self.engine.poll_transmit(self.now) {
            self.peer.receive(&packet);
        }
        self.engine.handle_segment(self.now, &self.peer.acknowledgement());
        while self.engine.poll_event().is_some() {}
    }
}

fn bulk(c: &mut Criterion) {
    for (name, size, count) in [("segments", SEGMENT, BATCH), ("super-segments", SUPER_SEGMENT, 4)]
    {
        let mut group = c.benchmark_group(format!("engine/{name}"));
        group.throughput(Throughput::Bytes((size * count) as u64));
        let mut world = World::new(count == 4);
        group.bench_function("up", |b| {
            let world = std::cell::RefCell::new(&mut world);
            b.iter_batched(
                || world.borrow_mut().segments(size, count),
                |batch| world.borrow_mut().up(&batch),
                BatchSize::PerIteration,
            );
        });
        let chunk = Bytes::from(vec![7; MAX_CHUNK]);
        group.throughput(Throughput::Bytes(chunk.len() as u64));
        group.bench_function("down", |b| b.iter(|| world.down(chunk.clone())));
        group.finish();
    }
}

criterion_group!(benches, bulk);
criterion_main!(benches);
