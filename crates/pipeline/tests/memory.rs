//! What an idle flow costs the stack beside its engine, by an allocator that counts.

use std::alloc::System;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures::task::noop_waker_ref;
use futures::{Sink, Stream};
use pseudotcp_masque_mock::{Mock, Script};
use pseudotcp_packet::build::TcpSegment;
use pseudotcp_packet::{FlowKey, Packet, Protocol, SeqNumber, TcpFlags, TcpOptions, Transport};
use pseudotcp_pipeline::Stack;
use pseudotcp_pipeline::stack::Config;
use pseudotcp_tcp::{Engine, Event};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Just more than a table of 16,384 slots holds: half of the next one is slack.
const FLOWS: u16 = 15_000;

/// What an app says, and hears again.
const WORDS: &[u8] = b"an exchange, and then nothing for hours";

/// Bytes that are allocated and not given back.
fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// A stack, or an engine by itself: it takes a packet and gives what it has to say.
trait Side {
    fn exchange(&mut self, packet: &Packet) -> Vec<Packet>;
}

impl Side for Stack {
    fn exchange(&mut self, packet: &Packet) -> Vec<Packet> {
        let cx = &mut Context::from_waker(noop_waker_ref());
        Pin::new(&mut *self).start_send(packet.clone()).expect("the stack takes packets");
        assert!(Pin::new(&mut *self).poll_flush(cx).is_ready());
        let mut packets = Vec::new();
        while let Poll::Ready(Some(packet)) = Pin::new(&mut *self).poll_next(cx) {
            packets.push(packet.expect("a packet"));
        }
        packets
    }
}

/// An engine whose far side says again what it hears.
struct Alone(Engine, Instant);

impl Side for Alone {
    fn exchange(&mut self, packet: &Packet) -> Vec<Packet> {
        let Self(engine, now) = self;
        engine.handle_segment(*now, packet);
        while let Some(event) = engine.poll_event() {
            match event {
                Event::Opening { id, .. } => engine.accept(*now, id),
                Event::Readable { id } => {
                    while let Some(data) = engine.read(*now, id, usize::MAX) {
                        engine.write(*now, id, data);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        std::iter::from_fn(|| engine.poll_transmit(*now)).collect()
    }
}

/// A connection of the nth app that has been used once.
fn use_once(side: &mut impl Side, n: u16) {
    let source = ([10, 0, 0, 1], 10_000 + n).into();
    let flow = FlowKey::new(Protocol::Tcp, source, ([192, 0, 2, 1], 80).into());
    let offer = TcpOptions { mss: Some(1_460), window_scale: Some(7), ..TcpOptions::default() };
    let mut say = |seq, ack: Option<SeqNumber>, flags, payload: &'static [u8]| {
        let seq = SeqNumber::new(seq);
        let options = if ack.is_none() { offer } else { TcpOptions::default() };
        let segment =
            TcpSegment { flow, seq, ack, flags, window: 512, options, segment_size: None };
        side.exchange(&segment.build(Bytes::from_static(payload)))
    };
    let syn_ack = say(0, None, TcpFlags::SYN, b"");
    let Some(Transport::Tcp(tcp)) = syn_ack.first().map(Packet::transport) else {
        panic!("no SYN-ACK: {syn_ack:?}");
    };
    let first = tcp.seq().advance(1);
    say(1, Some(first), TcpFlags::empty(), b"");
    let echo = say(1, Some(first), TcpFlags::PSH, WORDS);
    let echoed: usize = echo.iter().map(Packet::payload_len).sum();
    assert_eq!(echoed, WORDS.len(), "{echo:?}");
    let len = u32::try_from(WORDS.len()).expect("few");
    assert!(say(1 + len, Some(first.advance(len)), TcpFlags::empty(), b"").is_empty());
}

/// The bytes that each of many idle flows costs.
fn each(side: &mut impl Side) -> usize {
    use_once(side, 0);
    let before = held();
    (1..=FLOWS).for_each(|n| use_once(side, n));
    (held() - before) / usize::from(FLOWS)
}

// One test, as others beside it would be counted too.
#[tokio::test(start_paused = true)]
async fn an_idle_flow_costs_the_stack_700_bytes_beside_the_engine_at_most() {
    let now = tokio::time::Instant::now().into_std();
    let mut stack = Stack::new(Config::default(), Arc::new(Mock::new(Script::echo()))).unwrap();
    let whole = each(&mut stack);
    assert_eq!(stack.tcp_flow_count(), usize::from(FLOWS) + 1);
    let engine = each(&mut Alone(Engine::new(pseudotcp_tcp::Config::default(), [7; 16]), now));
    println!("{whole} bytes for each of {FLOWS} idle flows, {engine} of them in the engine");
    assert!(engine <= 512 && whole - engine <= 700, "{whole} bytes, {engine} in the engine");
}
