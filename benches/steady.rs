//! What a packet costs in steady state, from the device through the stack and back, in numbers that no
//! busy machine changes: allocations, of which there is not one for each packet; and, under callgrind,
//! instructions (`cargo xtask bench --micro`). The device is a pair of sockets, so that packets are
//! really read and written.

use std::alloc::System;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use pseudotcp_benches::{Peer, SEGMENT};
use pseudotcp_masque_mock::{Mock, Script};
use pseudotcp_packet::Packet;
use pseudotcp_pipeline::stack::Config;
use pseudotcp_pipeline::{Splice, Stack, splice};
use pseudotcp_tun::TunPort;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::task::yield_now;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MTU: u32 = 1_500;
/// How many segments arrive together.
const BATCH: usize = 64;
/// How many batches pass before allocations count, while queues still grow; and then.
const BATCHES: [usize; 2] = [64, 256];
/// One allocation for so many packets may remain: of what is made anew for a batch.
const FEW: usize = 10;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    // Only one of them, if it is named.
    let wanted = std::env::args().find(|argument| argument == "up" || argument == "down");
    for (name, script, exchange) in [
        ("up", Script::discard(), upload as fn(&mut App) -> usize),
        ("down", Script::source(u64::MAX), download),
    ] {
        if wanted.as_ref().is_none_or(|wanted| wanted == name) {
            let Cost { packets, allocations } = runtime.block_on(measure(script, exchange));
            println!("{name}: {allocations} allocations for {packets} packets");
            assert!(allocations * FEW < packets, "{name}: too many allocations");
        }
    }
}

/// How many packets passed, and what they cost.
#[derive(Default)]
struct Cost {
    packets: usize,
    allocations: usize,
}

/// What packets cost once all queues have grown.
async fn measure(script: Script, exchange: fn(&mut App) -> usize) -> Cost {
    let (mut app, port) = App::new();
    let stack = Stack::new(Config::for_device(MTU, false), Arc::new(Mock::new(script)));
    let mut pipeline = splice(port, stack.expect("the system has randomness"));
    let syn = app.peer.syn();
    app.send(&syn);
    let mut cost = Cost::default();
    for batches in BATCHES {
        cost = Cost::default();
        while cost.packets < batches * BATCH {
            let before = allocations();
            turn(&mut pipeline);
            yield_now().await;
            cost.allocations += allocations() - before;
            cost.packets += exchange(&mut app);
        }
    }
    cost
}

/// What callgrind counts the instructions of, by this name.
#[inline(never)]
fn turn(pipeline: &mut Splice<TunPort, Stack>) {
    assert!(pipeline.now_or_never().is_none(), "the pipeline has ended");
}

fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

/// The kernel's side of the device, with one connection.
struct App {
    wire: File,
    peer: Peer,
    buffer: Vec<u8>,
}

impl App {
    fn new() -> (Self, TunPort) {
        let pair =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_NONBLOCK);
        let (wire, device) = pair.expect("a pair of sockets");
        let port = TunPort::adopt(device, MTU).expect("a port");
        (Self { wire: wire.into(), peer: Peer::new(1), buffer: vec![0; 65_536] }, port)
    }

    fn send(&mut self, packet: &Packet) {
        for segment in packet.segments() {
            let mut bytes = segment.head().to_vec();
            segment.body().iter().for_each(|slice| bytes.extend_from_slice(slice));
            self.wire.write_all(&bytes).expect("the socket has room");
        }
    }

    /// The payload bytes of the next packet, if one has come.
    fn receive(&mut self) -> Option<usize> {
        let length = match self.wire.read(&mut self.buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("{error}"),
        };
        let packet = Packet::parse(Bytes::copy_from_slice(&self.buffer[..length]));
        Some(self.peer.receive(&packet.expect("a packet")))
    }
}

/// A batch of segments, when the last one was acknowledged; how many they were.
fn upload(app: &mut App) -> usize {
    let mut heard = false;
    while app.receive().is_some() {
        heard = true;
    }
    if !heard {
        return 0;
    }
    for _ in 0..BATCH {
        let segment = app.peer.data(Bytes::from_static(&[7; SEGMENT]));
        app.send(&segment);
    }
    BATCH
}

/// All segments that have come, acknowledged together; how many they were.
fn download(app: &mut App) -> usize {
    let received = std::iter::from_fn(|| app.receive()).collect::<Vec<_>>();
    if !received.is_empty() {
        let acknowledgement = app.peer.acknowledgement();
        app.send(&acknowledgement);
    }
    received.into_iter().filter(|octets| *octets > 0).count()
}
