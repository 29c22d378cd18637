//! From a TCP target to the client.

use std::io;
use std::ops::RangeInclusive;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use pseudotcp_masque::cork::MAX_FRAME;
use tokio::net::TcpStream;

use crate::client::{Outbox, Sender};
use crate::connect::framing::Outbound;
use crate::tunnel::End;

/// The least and the most bytes that are read from a target at once; the most is one long frame.
const READ: RangeInclusive<usize> = 4 * 1024..=MAX_FRAME as usize;

/// How many bytes are moved before other tasks get their turn.
const ROUND: usize = 1 << 20;

/// One direction of a tunnel: bytes in, DATA out, FIN in, `END_STREAM` or `FINAL_DATA` out.
///
/// Nothing is read while the client's window is closed for what was read before, so a client that
/// does not read stops its own target and nobody else's.
pub(crate) struct Download {
    pub(crate) outbox: Outbox,
    framing: Outbound,
    read_size: usize,
    read: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The target may send.
    Open,
    /// The target has ended its side; the client is still to hear it.
    Ending,
    /// The client has been told.
    Ended,
}

impl Download {
    pub(crate) fn new(sender: Sender, framing: Outbound) -> Self {
        let (outbox, read_size) = (Outbox::new(sender), *READ.start());
        Self { outbox, framing, read_size, read: 0, state: State::Open }
    }

    /// How many bytes the target has sent.
    pub(crate) fn read(&self) -> usize {
        self.read
    }

    /// Moves what can be moved. Ready when the client has been told of the target's end. A target
    /// that is `broken` (it no longer takes what the client sends) ends in a reset instead.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        target: &TcpStream,
        broken: bool,
    ) -> Poll<Result<(), End>> {
        let limit = self.read + ROUND;
        while self.state == State::Open {
            if self.read >= limit {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(self.outbox.poll_send(cx))?;
            match ready!(self.poll_read(cx, target)) {
                Ok(0) if broken => return Poll::Ready(Err(End::TargetGone)),
                Ok(0) => self.end(),
                Ok(read) => self.read += read,
                Err(_) => return Poll::Ready(Err(End::TargetGone)),
            }
            self.outbox.reserve();
        }
        self.poll_end(cx)
    }

    /// Reads once into the empty outbox. An idle tunnel keeps no buffer.
    fn poll_read(&mut self, cx: &mut Context<'_>, target: &TcpStream) -> Poll<io::Result<usize>> {
        let buffer = &mut self.outbox.waiting;
        loop {
            if target.poll_read_ready(cx)?.is_pending() {
                *buffer = BytesMut::new();
                return Poll::Pending;
            }
            self.framing.begin(buffer);
            buffer.reserve(self.read_size);
            let result = target.try_read_buf(&mut buffer.limit(self.read_size));
            let read = *result.as_ref().unwrap_or(&0);
            if read == 0 {
                buffer.clear();
            } else {
                self.framing.complete(buffer, read);
            }
            if !matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
                self.read_size = next_read_size(self.read_size, read);
                return Poll::Ready(result);
            }
        }
    }

    fn end(&mut self) {
        self.outbox.waiting.extend_from_slice(self.framing.end());
        self.state = State::Ending;
    }

    /// With CONNECT the stream ends with the bytes; with connect-tcp it ends with the connection.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if self.state == State::Ending {
            match self.framing {
                Outbound::Plain => ready!(self.outbox.poll_finish(cx))?,
                Outbound::Capsules => ready!(self.outbox.poll_send(cx))?,
            }
            self.state = State::Ended;
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the stream of a connection that both sides have ended.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.framing {
            Outbound::Plain => Poll::Ready(()),
            Outbound::Capsules => self.outbox.poll_finish(cx).map(drop),
        }
    }
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
