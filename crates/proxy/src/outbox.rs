use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use h2::{Reason, SendStream};

use crate::data::{Data, Queue};

/// With its frame header, so much DATA fills one TLS record exactly.
pub(crate) const DATA: usize = 16_384 - 9;

/// The client, or its interest in the tunnel, is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone;

/// The way to the client: bytes that wait for its window, and the stream they leave by.
pub(crate) struct Outbox {
    stream: SendStream<Data>,
    queue: Queue,
    /// What waits; filled from outside, then [`reserve`](Self::reserve)d for.
    pub(crate) waiting: BytesMut,
    sent: usize,
}

impl Outbox {
    pub(crate) fn new(stream: SendStream<Data>) -> Self {
        Self { stream, queue: Queue::default(), waiting: BytesMut::new(), sent: 0 }
    }

    /// How many bytes HTTP/2 has taken.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    /// Asks for room for all that waits. Nothing is asked for while nothing waits: an idle stream
    /// would keep others from the connection's window.
    pub(crate) fn reserve(&mut self) {
        self.stream.reserve_capacity(self.waiting.len());
    }

    /// Sends what waits, as the client's window allows. Ready when nothing waits any more.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        while !self.waiting.is_empty() {
            let capacity = match self.stream.capacity() {
                0 => match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(capacity)) => capacity,
                    Some(Err(_)) | None => return Poll::Ready(Err(Gone)),
                },
                capacity => capacity,
            };
            let length = capacity.min(DATA).min(self.waiting.len());
            if length > 0 {
                let data = self.queue.data(self.waiting.split_to(length).freeze());
                self.stream.send_data(data, false).map_err(|_| Gone)?;
                self.sent += length;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends `END_STREAM` behind everything else.
    pub(crate) fn finish(&mut self) -> Result<(), Gone> {
        self.stream.send_data(Queue::end(), true).map_err(|_| Gone)
    }

    /// Ready when HTTP/2 has written all that it took.
    pub(crate) fn poll_written(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.queue.poll_empty(cx)
    }

    /// Ready when the client has reset the stream, or its connection is gone.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_reset(cx).map(drop)
    }

    /// Tells the client how the tunnel ended other than by `END_STREAM`.
    pub(crate) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }
}
