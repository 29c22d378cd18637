//! What a packet costs: the empty pipeline, and the stack beside many flows.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::task::noop_waker_ref;
use futures::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use pseudotcp_benches::{Peer, SEGMENT};
use pseudotcp_masque_mock::{Mock, Script};
use pseudotcp_packet::Packet;
use pseudotcp_pipeline::stack::Config;
use pseudotcp_pipeline::{Direction, Stack, Tap, splice};

/// How many packets arrive together.
const BATCH: usize = 64;

/// A port that yields what it was loaded with, and takes anything.
#[derive(Default)]
struct Loaded(VecDeque<Packet>);

impl Stream for Loaded {
    type Item = io::Result<Packet>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.pop_front().map_or(Poll::Pending, |packet| Poll::Ready(Some(Ok(packet))))
    }
}

impl Sink<Packet> for Loaded {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: Packet) -> io::Result<()> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn empty_pipeline(c: &mut Criterion) {
    let packet = Peer::new(1).data(Bytes::from(vec![7; SEGMENT]));
    let load = || Loaded(vec![packet.clone(); BATCH].into());
    let nothing = |_: Direction, _: &Packet| {};
    let mut group = c.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("four no-op stages", |b| {
        b.iter_batched(
            || (Tap::new(Tap::new(load(), nothing), nothing), Loaded::default()),
            |(source, sink)| {
                let sink = Tap::new(Tap::new(sink, nothing), nothing);
                let polled = splice(source, sink).poll_unpin(&mut noop());
                assert!(polled.is_pending());
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// A stack with open flows into a target that takes everything.
struct World {
    stack: Stack,
    peers: Vec<Peer>,
    turn: usize,
}

impl World {
    fn new(flows: u32) -> Self {
        let transport = Arc::new(Mock::new(Script::discard()));
        let config = Config::default();
        let mut stack = Stack::new(config, transport).expect("the system has randomness");
        let mut peers: Vec<_> = (0..flows).map(Peer::new).collect();
        for peer in &mut peers {
            send(&mut stack, peer.syn());
            let answers = flush(&mut stack);
            peer.receive(&answers[0]);
            send(&mut stack, peer.acknowledgement());
        }
        flush(&mut stack);
        assert_eq!(stack.tcp_flow_count(), peers.len());
        Self { stack, peers, turn: 0 }
    }

    /// A batch with one segment of each of the next flows.
    fn batch(&mut self) -> Vec<Packet> {
        let payload = Bytes::from(vec![7; SEGMENT]);
        let flows = self.peers.len();
        let turn = self.turn;
        self.turn += BATCH;
        (turn..turn + BATCH).map(|n| self.peers[n % flows].data(payload.clone())).collect()
    }

    fn take(&mut self, batch: Vec<Packet>) {
        for packet in batch {
            send(&mut self.stack, packet);
        }
        flush(&mut self.stack);
    }
}

fn stack(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime starts");
    let _context = runtime.enter();
    let mut group = c.benchmark_group("stack");
    group.throughput(Throughput::Elements(BATCH as u64));
    for flows in [1, 100, 10_000] {
        let world = RefCell::new(World::new(flows));
        group.bench_function(format!("{flows} flows"), |b| {
            b.iter_batched(
                || world.borrow_mut().batch(),
                |batch| world.borrow_mut().take(batch),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn send(stack: &mut Stack, packet: Packet) {
    stack.start_send_unpin(packet).expect("the stack takes every packet");
}

/// Ends a batch and takes what comes out.
fn flush(stack: &mut Stack) -> Vec<Packet> {
    let mut out = Vec::new();
    assert!(stack.poll_flush_unpin(&mut noop()).is_ready());
    while let Poll::Ready(Some(packet)) = stack.poll_next_unpin(&mut noop()) {
        out.extend(packet);
    }
    out
}

fn noop() -> Context<'static> {
    Context::from_waker(noop_waker_ref())
}

criterion_group!(benches, empty_pipeline, stack);
criterion_main!(benches);
