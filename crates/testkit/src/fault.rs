use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};

use futures::{Sink, SinkExt, Stream, StreamExt};
use pseudotcp_packet::{Packet, Quote};

use crate::random::Dice;

/// How a [`Faulty`] port treats one direction. Probabilities from 0 to 1, for each packet of the
/// wire: super-segments are cut first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The packet is lost.
    pub drop: f64,
    /// The packet passes twice.
    pub duplicate: f64,
    /// The packet falls behind its successor, if one comes in the same batch.
    pub reorder: f64,
    /// A bit of the packet turns over; what a receiver would notice is lost.
    pub corrupt: f64,
    /// The largest packet in octets, where there is a limit. Larger ones are lost, and their sender
    /// is told so by ICMP.
    pub mtu: Option<u32>,
}

/// What a [`Faulty`] port did in one direction, in packets of the wire. The counts may be read
/// while the port is in use.
#[derive(Debug, Default)]
pub struct FaultCounts {
    passed: AtomicU64,
    dropped: AtomicU64,
    duplicated: AtomicU64,
    reordered: AtomicU64,
    corrupted: AtomicU64,
    too_big: AtomicU64,
}

impl FaultCounts {
    /// Packets that passed, doubles included.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// Packets lost by chance.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Packets that passed twice.
    pub fn duplicated(&self) -> u64 {
        self.duplicated.load(Ordering::Relaxed)
    }

    /// Packets that fell behind.
    pub fn reordered(&self) -> u64 {
        self.reordered.load(Ordering::Relaxed)
    }

    /// Packets that were changed; most of these did not pass.
    pub fn corrupted(&self) -> u64 {
        self.corrupted.load(Ordering::Relaxed)
    }

    /// Packets that exceeded the MTU.
    pub fn too_big(&self) -> u64 {
        self.too_big.load(Ordering::Relaxed)
    }
}

/// A packet port that loses, doubles, swaps and changes what passes through another port, or is too
/// narrow for it.
///
/// It is itself a port, `Stream<Item = io::Result<Packet>>` and `Sink<Packet, Error =
/// io::Error>`. A packet that is held back to be overtaken goes on when the stream runs dry or the
/// sink is flushed, so that nothing waits for packets that never come.
#[derive(Debug)]
pub struct Faulty<P> {
    port: P,
    inbound: Direction,
    outbound: Direction,
    /// Who waits for the stream.
    reader: Option<Waker>,
}

impl<P> Faulty<P> {
    /// Wraps a port: `inbound` for what its stream yields, `outbound` for what its sink takes. The
    /// same seed treats the same packets in the same way.
    pub fn new(port: P, inbound: Faults, outbound: Faults, seed: u64) -> Self {
        let (inbound, outbound) = (Direction::new(inbound, seed), Direction::new(outbound, !seed));
        Self { port, inbound, outbound, reader: None }
    }

    /// The wrapped port.
    pub fn port(&self) -> &P {
        &self.port
    }

    /// What happened to the packets of the stream.
    pub fn inbound(&self) -> Arc<FaultCounts> {
        self.inbound.counts.clone()
    }

    /// What happened to the packets of the sink.
    pub fn outbound(&self) -> Arc<FaultCounts> {
        self.outbound.counts.clone()
    }
}

impl<P: Stream<Item = io::Result<Packet>> + Unpin> Stream for Faulty<P> {
    type Item = io::Result<Packet>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { port, inbound, outbound, reader } = &mut *self;
        loop {
            if let Some(packet) = inbound.ready.pop_front() {
                return Poll::Ready(Some(Ok(packet)));
            }
            match port.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(packet))) => inbound.treat(&packet, outbound),
                Poll::Pending | Poll::Ready(None) if inbound.release() => {}
                other => {
                    *reader = Some(cx.waker().clone());
                    return other;
                }
            }
        }
    }
}

impl<P: Sink<Packet, Error = io::Error> + Unpin> Faulty<P> {
    /// Hands on what has been treated.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbound.ready.is_empty() {
            ready!(self.port.poll_ready_unpin(cx))?;
            let Some(packet) = self.outbound.ready.pop_front() else { break };
            self.port.start_send_unpin(packet)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<P: Sink<Packet, Error = io::Error> + Unpin> Sink<Packet> for Faulty<P> {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        self.port.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Packet) -> io::Result<()> {
        let Self { inbound, outbound, reader, .. } = &mut *self;
        outbound.treat(&packet, inbound);
        if !inbound.ready.is_empty()
            && let Some(reader) = reader.take()
        {
            reader.wake();
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbound.release();
        ready!(self.poll_drain(cx))?;
        self.port.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbound.release();
        ready!(self.poll_drain(cx))?;
        self.port.poll_close_unpin(cx)
    }
}

#[derive(Debug)]
struct Direction {
    faults: Faults,
    dice: Dice,
    /// Treated and waiting to go on.
    ready: VecDeque<Packet>,
    /// Waiting to be overtaken.
    held: Option<Packet>,
    counts: Arc<FaultCounts>,
}

impl Direction {
    fn new(faults: Faults, seed: u64) -> Self {
        let (dice, counts) = (Dice::new(seed), Arc::default());
        Self { faults, dice, ready: VecDeque::new(), held: None, counts }
    }

    /// Answers go the other way.
    fn treat(&mut self, packet: &Packet, back: &mut Self) {
        packet.segments().for_each(|packet| self.treat_whole(packet, back));
    }

    fn treat_whole(&mut self, packet: Packet, back: &mut Self) {
        if let Some(mtu) = self.faults.mtu.filter(|mtu| packet.total_len() > *mtu as usize) {
            count(&self.counts.too_big);
            return back.ready.extend(Quote::of(&packet).map(|quote| quote.too_big(mtu)));
        }
        if self.dice.happens(self.faults.drop) {
            return count(&self.counts.dropped);
        }
        if self.dice.happens(self.faults.corrupt) {
            count(&self.counts.corrupted);
            let Some(changed) = self.dice.corrupted(&packet) else { return };
            return self.pass(changed);
        }
        if self.dice.happens(self.faults.duplicate) {
            count(&self.counts.duplicated);
            self.pass(packet.clone());
        }
        if self.held.is_none() && self.dice.happens(self.faults.reorder) {
            self.held = Some(packet);
        } else {
            self.pass(packet);
        }
    }

    /// Lets a packet go on, and the held one behind it.
    fn pass(&mut self, packet: Packet) {
        count(&self.counts.passed);
        self.ready.push_back(packet);
        if self.release() {
            count(&self.counts.reordered);
        }
    }

    /// Lets the held packet go on, if there is one.
    fn release(&mut self) -> bool {
        let Some(held) = self.held.take() else { return false };
        count(&self.counts.passed);
        self.ready.push_back(held);
        true
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
