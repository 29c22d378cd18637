//! A packet port behind a long wire.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::{Sink, SinkExt, Stream, StreamExt};
use pseudotcp_packet::Packet;
use tokio::time::Sleep;

use super::clock;

/// The most packets on the way in one direction; of what the stack sends the next one is lost.
const ON_THE_WAY: usize = 1_000;

/// Everything that passes through another port takes so long in either direction.
pub(crate) struct Delayed<P> {
    port: P,
    inbound: Wire,
    outbound: Wire,
}

impl<P> Delayed<P> {
    pub(crate) fn new(port: P, delay: Duration) -> Self {
        Self { port, inbound: Wire::new(delay), outbound: Wire::new(delay) }
    }
}

impl<P: Stream<Item = io::Result<Packet>> + Unpin> Stream for Delayed<P> {
    type Item = io::Result<Packet>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { port, inbound, .. } = &mut *self;
        while inbound.has_room()
            && let Poll::Ready(item) = port.poll_next_unpin(cx)
        {
            match item {
                Some(Ok(packet)) => inbound.send(packet),
                ended => return Poll::Ready(ended),
            }
        }
        inbound.poll_arrived(cx).map(|packet| Some(Ok(packet)))
    }
}

impl<P: Sink<Packet, Error = io::Error> + Unpin> Sink<Packet> for Delayed<P> {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Packet) -> io::Result<()> {
        self.outbound.send(packet);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { port, outbound, .. } = &mut *self;
        loop {
            ready!(port.poll_ready_unpin(cx))?;
            match outbound.poll_arrived(cx) {
                Poll::Ready(packet) => port.start_send_unpin(packet)?,
                Poll::Pending => return port.poll_flush_unpin(cx),
            }
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.port.poll_close_unpin(cx)
    }
}

/// One direction.
struct Wire {
    delay: Duration,
    packets: VecDeque<(Instant, Packet)>,
    timer: Pin<Box<Sleep>>,
}

impl Wire {
    fn new(delay: Duration) -> Self {
        let timer = Box::pin(tokio::time::sleep(Duration::ZERO));
        Self { delay, packets: VecDeque::new(), timer }
    }

    fn has_room(&self) -> bool {
        self.packets.len() < ON_THE_WAY
    }

    fn send(&mut self, packet: Packet) {
        if self.has_room() {
            self.packets.push_back((clock::now() + self.delay, packet));
        }
    }

    /// The next packet, once it has arrived.
    fn poll_arrived(&mut self, cx: &mut Context<'_>) -> Poll<Packet> {
        let Some(&(due, _)) = self.packets.front() else { return Poll::Pending };
        if due > clock::now() {
            self.timer.as_mut().reset(due.into());
            ready!(self.timer.as_mut().poll(cx));
        }
        self.packets.pop_front().map_or(Poll::Pending, |(_, packet)| Poll::Ready(packet))
    }
}
