use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures::{Sink, SinkExt, Stream, StreamExt};
use pseudotcp_packet::reassembly::{Config, Reassembler, Stats as ReassemblyStats};
use pseudotcp_packet::{Packet, Transport};

use crate::limit::IcmpLimit;
use crate::timer::Timer;
use crate::{PacketPort, clock};

/// A packet port that deals with IP fragments, so that the ports behind it see whole packets only.
///
/// What goes in is reassembled; a sender whose other fragments do not come in time hears of it. What
/// comes out of the port behind it and does not fit the device's MTU is cut. It stands before a
/// [`Guard`](crate::Guard), as rules about ports apply to fragmented datagrams too.
#[derive(Debug)]
pub struct Fragments<P> {
    port: P,
    reassembler: Reassembler,
    limit: IcmpLimit,
    mtu: usize,
    /// The fragments of the packet that was cut last.
    cut: VecDeque<Packet>,
    identification: u32,
    packets_cut: u64,
    timer: Timer,
    /// Woken by a fragment, which may have something to say, or a deadline.
    reader: Option<Waker>,
}

/// What a [`Fragments`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FragmentsStats {
    /// What became of the fragments that came in.
    pub reassembly: ReassemblyStats,
    /// Packets that left as fragments.
    pub packets_cut: u64,
}

impl<P: PacketPort> Fragments<P> {
    /// Puts the layer before `port`; `mtu` is the device's in bytes, and errors are limited by
    /// `limit`.
    pub fn new(config: Config, mtu: u32, limit: IcmpLimit, port: P) -> Self {
        Self {
            port,
            reassembler: Reassembler::new(config),
            limit,
            mtu: mtu as usize,
            cut: VecDeque::new(),
            // RFC 7739 §4: identifications should not be guessed.
            identification: (RandomState::new().hash_one(()) >> 32) as u32,
            packets_cut: 0,
            timer: Timer::default(),
            reader: None,
        }
    }

    /// The port that sees whole packets.
    pub fn port(&self) -> &P {
        &self.port
    }

    /// The port behind it, to change it.
    pub fn port_mut(&mut self) -> &mut P {
        &mut self.port
    }

    /// The counters.
    pub fn stats(&self) -> FragmentsStats {
        FragmentsStats { reassembly: *self.reassembler.stats(), packets_cut: self.packets_cut }
    }

    /// The next error for a sender whose fragments are of no use.
    fn poll_error(&mut self, cx: &mut Context<'_>) -> Option<Packet> {
        let deadline = self.reassembler.poll_timeout();
        if deadline.is_some_and(|deadline| deadline <= clock::now()) {
            self.reassembler.handle_timeout(clock::now());
        }
        self.timer.arm(self.reassembler.poll_timeout(), cx);
        std::iter::from_fn(|| self.reassembler.poll_transmit())
            .find(|error| self.limit.allow(clock::now(), error.ip().destination()))
    }

    /// What is to leave in place of a packet: itself, or the first of its fragments.
    fn cut(&mut self, packet: Packet) -> Packet {
        if packet.segment_size().is_some() || packet.total_len() <= self.mtu {
            return packet;
        }
        self.cut.extend(packet.fragments(self.mtu, self.identification));
        self.identification = self.identification.wrapping_add(1);
        self.packets_cut += 1;
        self.cut.pop_front().unwrap_or(packet)
    }
}

impl<P: PacketPort> Sink<Packet> for Fragments<P> {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.port.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Packet) -> io::Result<()> {
        if !matches!(packet.transport(), Transport::Fragment(_)) {
            return self.port.start_send_unpin(packet);
        }
        let whole = self.reassembler.handle_packet(clock::now(), packet);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        whole.map_or(Ok(()), |whole| self.port.start_send_unpin(whole))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.port.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.port.poll_close_unpin(cx)
    }
}

impl<P: PacketPort> Stream for Fragments<P> {
    type Item = io::Result<Packet>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(fragment) = self.cut.pop_front() {
            return Poll::Ready(Some(Ok(fragment)));
        }
        if let Some(error) = self.poll_error(cx) {
            return Poll::Ready(Some(Ok(error)));
        }
        if !self.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            self.reader = Some(cx.waker().clone());
        }
        let next = self.port.poll_next_unpin(cx);
        next.map(|item| item.map(|packet| packet.map(|packet| self.cut(packet))))
    }
}
