//! A stream of an HTTP/2 connection.

use std::task::{Context, Poll, ready};

use ::h2::{Reason, SendStream};
use bytes::BytesMut;
use pseudotcp_masque::cork::FrameLimit;

use crate::client::Gone;
use crate::client::data::{Data, Queue};

pub(crate) struct Sender {
    stream: SendStream<Data>,
    queue: Queue,
    frames: FrameLimit,
}

impl Sender {
    pub(super) fn new(stream: SendStream<Data>, frames: FrameLimit) -> Self {
        Self { stream, queue: Queue::default(), frames }
    }

    pub(super) fn reserve(&mut self, bytes: usize) {
        self.stream.reserve_capacity(bytes);
    }

    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        waiting: &mut BytesMut,
    ) -> Poll<Result<(), Gone>> {
        let capacity = match self.stream.capacity() {
            0 => match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(capacity)) => capacity,
                Some(Err(_)) | None => return Poll::Ready(Err(Gone)),
            },
            capacity => capacity,
        };
        let length = capacity.min(self.frames.get()).min(waiting.len());
        if length > 0 {
            let data = self.queue.data(waiting.split_to(length).freeze());
            self.stream.send_data(data, false).map_err(|_| Gone)?;
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn finish(&mut self) -> Result<(), Gone> {
        self.stream.send_data(Queue::end(), true).map_err(|_| Gone)
    }

    pub(super) fn poll_written(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.queue.poll_empty(cx)
    }

    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_reset(cx).map(drop)
    }

    pub(super) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }
}
