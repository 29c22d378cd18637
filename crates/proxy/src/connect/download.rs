//! From a TCP target to the client.

use std::io;
use std::ops::RangeInclusive;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use h2::SendStream;
use tokio::net::TcpStream;

use crate::connect::relay::End;
use crate::data::Data;
use crate::outbox::{DATA, Gone, Outbox};

/// The least and the most bytes that are read from a target at once; the most is whole frames.
const READ: RangeInclusive<usize> = 4 * 1024..=4 * DATA;

/// How many bytes are moved before other tasks get their turn.
const ROUND: usize = 1 << 20;

/// One direction of a tunnel: bytes in, DATA out, FIN in, `END_STREAM` out.
///
/// Nothing is read while the client's window is closed for what was read before, so a client that
/// does not read stops its own target and nobody else's.
pub(crate) struct Download {
    pub(crate) outbox: Outbox,
    read_size: usize,
    ended: bool,
}

impl Download {
    pub(crate) fn new(send: SendStream<Data>) -> Self {
        Self { outbox: Outbox::new(send), read_size: *READ.start(), ended: false }
    }

    /// Moves what can be moved. Ready when the client has been sent `END_STREAM`. A target that is
    /// `broken` (it no longer takes what the client sends) ends in a reset instead.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        target: &TcpStream,
        broken: bool,
    ) -> Poll<Result<(), End>> {
        let limit = self.outbox.sent() + ROUND;
        while !self.ended {
            if self.outbox.sent() >= limit {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(self.outbox.poll_send(cx)).map_err(gone)?;
            match ready!(self.poll_read(cx, target)) {
                Ok(0) if broken => return Poll::Ready(Err(End::TargetReset)),
                Ok(0) => self.finish()?,
                Ok(_) => self.outbox.reserve(),
                Err(_) => return Poll::Ready(Err(End::TargetReset)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once into the empty outbox. An idle tunnel keeps no buffer.
    fn poll_read(&mut self, cx: &mut Context<'_>, target: &TcpStream) -> Poll<io::Result<usize>> {
        let buffer = &mut self.outbox.waiting;
        loop {
            if target.poll_read_ready(cx)?.is_pending() {
                *buffer = BytesMut::new();
                return Poll::Pending;
            }
            buffer.reserve(self.read_size);
            match target.try_read_buf(&mut buffer.limit(self.read_size)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    self.read_size = next_read_size(self.read_size, *result.as_ref().unwrap_or(&0));
                    return Poll::Ready(result);
                }
            }
        }
    }

    fn finish(&mut self) -> Result<(), End> {
        self.ended = true;
        self.outbox.finish().map_err(gone)
    }
}

fn gone(_: Gone) -> End {
    End::ClientGone
}

/// A full read asks for a larger one, a small one for a smaller.
fn next_read_size(size: usize, read: usize) -> usize {
    if read >= size {
        (size * 4).min(*READ.end())
    } else if read < size / 4 {
        (size / 2).max(*READ.start())
    } else {
        size
    }
}
