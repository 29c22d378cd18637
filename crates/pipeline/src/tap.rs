use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{Sink, SinkExt, Stream, StreamExt};
use pseudotcp_packet::Packet;

use crate::PacketPort;

/// Which way a packet goes past a [`Tap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Out of the tapped port (from the app, where the port is a device).
    Out,
    /// Into the tapped port.
    In,
}

/// A packet port that shows every packet that passes to an observer, for captures and counters.
///
/// The observer sees packets as the port handed them over: super-segments whole, checksums perhaps
/// partial. [`Packet::segments`] makes complete packets of them.
#[derive(Debug)]
pub struct Tap<P, F> {
    port: P,
    observer: F,
}

impl<P, F> Tap<P, F>
where
    P: PacketPort,
    F: FnMut(Direction, &Packet) + Unpin,
{
    /// Puts an observer beside a port.
    pub fn new(port: P, observer: F) -> Self {
        Self { port, observer }
    }

    /// The tapped port.
    pub fn port(&self) -> &P {
        &self.port
    }
}

impl<P, F> Stream for Tap<P, F>
where
    P: PacketPort,
    F: FnMut(Direction, &Packet) + Unpin,
{
    type Item = io::Result<Packet>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.port.poll_next_unpin(cx));
        if let Some(Ok(packet)) = &item {
            (self.observer)(Direction::Out, packet);
        }
        Poll::Ready(item)
    }
}

impl<P, F> Sink<Packet> for Tap<P, F>
where
    P: PacketPort,
    F: FnMut(Direction, &Packet) + Unpin,
{
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.port.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Packet) -> io::Result<()> {
        (self.observer)(Direction::In, &packet);
        self.port.start_send_unpin(packet)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.port.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.port.poll_close_unpin(cx)
    }
}
