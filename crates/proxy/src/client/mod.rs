//! The client's end of a tunnel, as the relays see it: one way in, one way out, whichever version of
//! HTTP lies below.

mod data;
mod h1;
mod h2;
mod outbox;

use std::task::{Context, Poll};

use ::h2::{Reason, RecvStream, SendStream};
use bytes::{Bytes, BytesMut};
use pseudotcp_masque::cork::FrameLimit;

pub(crate) use self::data::Data;
pub(crate) use self::h1::{Io, Line};
pub(crate) use self::outbox::Outbox;

/// The client, or its interest in the tunnel, is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone;

/// What the client sends. What was taken counts against its window until it is released.
pub(crate) enum Receiver {
    H2(RecvStream),
    H1(h1::Receiver),
}

impl Receiver {
    /// The next bytes, never none; `None` when the client has ended its side.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Gone>>> {
        match self {
            Self::H2(stream) => {
                stream.poll_data(cx).map(|data| data.map(|data| data.map_err(|_| Gone)))
            }
            Self::H1(receiver) => receiver.poll_data(cx),
        }
    }

    /// Opens the client's window again.
    pub(crate) fn release(&mut self, bytes: usize) {
        match self {
            // The stream may be gone by now, and its window with it.
            Self::H2(stream) => drop(stream.flow_control().release_capacity(bytes)),
            Self::H1(receiver) => receiver.release(bytes),
        }
    }
}

/// What the client receives.
pub(crate) enum Sender {
    H2(h2::Sender),
    H1(h1::Sender),
}

impl Sender {
    pub(crate) fn h2(stream: SendStream<Data>, frames: FrameLimit) -> Self {
        Self::H2(h2::Sender::new(stream, frames))
    }

    /// Asks for room for so many bytes. Nothing is asked for while nothing waits: an idle stream
    /// would keep others from the connection's window.
    fn reserve(&mut self, bytes: usize) {
        match self {
            Self::H2(sender) => sender.reserve(bytes),
            Self::H1(_) => {}
        }
    }

    /// Sends a part of what waits.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        waiting: &mut BytesMut,
    ) -> Poll<Result<(), Gone>> {
        match self {
            Self::H2(sender) => sender.poll_send(cx, waiting),
            Self::H1(sender) => sender.poll_send(cx, waiting),
        }
    }

    /// Pushes on what was sent.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        match self {
            // The session's task does.
            Self::H2(_) => Poll::Ready(Ok(())),
            Self::H1(sender) => sender.poll_flush(cx),
        }
    }

    /// Says the end behind everything else.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        match self {
            Self::H2(sender) => Poll::Ready(sender.finish()),
            Self::H1(sender) => sender.poll_finish(cx),
        }
    }

    /// Ready when all that was sent has left this process.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::H2(sender) => sender.poll_written(cx),
            Self::H1(sender) => sender.poll_flush(cx).map(drop),
        }
    }

    /// Ready when the client has reset the tunnel, or is gone.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::H2(sender) => sender.poll_reset(cx),
            Self::H1(sender) => sender.poll_reset(cx),
        }
    }

    /// Tells the client that the tunnel did not end as it should.
    fn reset(&mut self, reason: Reason) {
        match self {
            Self::H2(sender) => sender.reset(reason),
            // TLS that ends without its close_notify has been cut off (RFC 8446 §6.1).
            Self::H1(_) => {}
        }
    }
}
