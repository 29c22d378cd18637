use std::task::{Context, Poll, ready};

use ::h2::Reason;
use bytes::BytesMut;

use crate::client::{Gone, Sender};

/// The way to the client: bytes that wait for its window, and where they leave.
pub(crate) struct Outbox {
    sender: Sender,
    /// What waits; filled from outside, then [`reserve`](Self::reserve)d for.
    pub(crate) waiting: BytesMut,
}

impl Outbox {
    pub(crate) fn new(sender: Sender) -> Self {
        Self { sender, waiting: BytesMut::new() }
    }

    /// Asks for room for all that waits.
    pub(crate) fn reserve(&mut self) {
        self.sender.reserve(self.waiting.len());
    }

    /// Sends what waits, as the client's window allows. Ready when nothing waits any more.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        while !self.waiting.is_empty() {
            ready!(self.sender.poll_send(cx, &mut self.waiting))?;
        }
        self.sender.poll_flush(cx)
    }

    /// Says the end behind everything else.
    pub(crate) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        ready!(self.poll_send(cx))?;
        self.sender.poll_finish(cx)
    }

    /// Ready when HTTP has written all that it took.
    pub(crate) fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sender.poll_written(cx)
    }

    /// Ready when the client has reset the tunnel, or is gone.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sender.poll_reset(cx)
    }

    /// Tells the client how the tunnel ended other than by its end.
    pub(crate) fn reset(&mut self, reason: Reason) {
        self.sender.reset(reason);
    }
}
