//! From the client to a TCP target.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::connect::framing::Inbound;
use crate::credit::{Hold, Lane};
use crate::tunnel::End;

/// How many bytes are taken from the client before they are written.
const BATCH: usize = 256 * 1024;

/// How many batches are moved before other tasks get their turn.
const ROUNDS: usize = 8;

/// The most pieces of one write.
const MAX_SLICES: usize = 64;

/// One direction of a tunnel: DATA in, bytes out, `END_STREAM` or `FINAL_DATA` in, FIN out.
///
/// DATA is taken from HTTP at once, whether or not the target reads: that keeps the connection's
/// frame budget free. The window is given back only for what the target took, so a target that does
/// not read stops its own client and nobody else's.
pub(crate) struct Upload {
    inbound: Inbound,
    backlog: Backlog,
    hold: Hold,
    state: State,
    written: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The client may send.
    Open,
    /// The client has ended its side; the backlog is still to be written.
    Ending,
    /// The target has heard the FIN.
    Ended,
    /// The target takes no more; what the client sends is dropped.
    Broken,
}

impl Upload {
    pub(crate) fn new(inbound: Inbound, lane: Arc<Lane>) -> Self {
        let (backlog, hold) = (Backlog::default(), Hold::new(lane));
        Self { inbound, backlog, hold, state: State::Open, written: 0 }
    }

    /// How many bytes the target has taken.
    pub(crate) fn written(&self) -> usize {
        self.written
    }

    /// Whether the target takes no more, although more was to come.
    pub(crate) fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Moves what can be moved. Ready when the target has heard the FIN.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        target: &TcpStream,
    ) -> Poll<Result<(), End>> {
        for _ in 0..ROUNDS {
            let more = self.receive(cx)?;
            self.write(cx, target);
            self.hold.set(self.backlog.len);
            if !more {
                return self.poll_finish(target);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes a batch of DATA; tells whether there may be more at once.
    fn receive(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut taken = 0;
        while taken < BATCH && matches!(self.state, State::Open | State::Broken) {
            match self.inbound.poll_data(cx) {
                Poll::Ready(Some(Ok(bytes))) => {
                    taken += bytes.len();
                    self.keep(bytes);
                }
                Poll::Ready(Some(Err(end))) => return Err(end),
                Poll::Ready(None) if self.state == State::Open => self.state = State::Ending,
                Poll::Ready(None) | Poll::Pending => return Ok(false),
            }
        }
        Ok(taken >= BATCH)
    }

    fn keep(&mut self, bytes: Bytes) {
        if self.is_broken() {
            self.inbound.release(bytes.len());
        } else {
            self.backlog.push(bytes);
        }
    }

    /// Writes as much of the backlog as the target takes.
    fn write(&mut self, cx: &mut Context<'_>, target: &TcpStream) {
        while self.backlog.len > 0 {
            match self.backlog.poll_write(cx, target) {
                Poll::Ready(Ok(written)) => {
                    self.written += written;
                    self.inbound.release(written);
                }
                Poll::Ready(Err(_)) => return self.break_off(),
                Poll::Pending => return self.backlog.stall(),
            }
        }
    }

    fn break_off(&mut self) {
        self.inbound.release(self.backlog.len);
        self.backlog = Backlog::default();
        self.state = State::Broken;
    }

    /// Passes the client's end on, behind its last byte.
    fn poll_finish(&mut self, target: &TcpStream) -> Poll<Result<(), End>> {
        if self.state == State::Ending && self.backlog.len == 0 {
            self.state = match SockRef::from(target).shutdown(Shutdown::Write) {
                Ok(()) => State::Ended,
                Err(_) => State::Broken,
            };
        }
        if self.state == State::Ended { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

/// How much a block of the backlog's own holds.
const BLOCK: usize = 64 * 1024;

/// Below this a frame is copied: it is not worth a slice of its own.
const SMALL: usize = 1024;

/// What the target has not taken yet.
///
/// A frame that can leave at once is passed on as it is. What must wait is copied into blocks, so
/// that it does not pin the connection's read buffer, however small it is.
#[derive(Default)]
struct Backlog {
    blocks: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
    stalled: bool,
}

impl Backlog {
    fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        if self.stalled || bytes.len() < SMALL {
            self.copy(&bytes);
        } else {
            self.seal();
            self.blocks.push_back(bytes);
        }
    }

    fn copy(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.tail.len()));
            self.tail.extend_from_slice(now);
            if self.tail.len() == BLOCK {
                self.seal();
            }
            bytes = later;
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.blocks.push_back(self.tail.split().freeze());
        }
    }

    /// The target takes no more just now.
    fn stall(&mut self) {
        if !self.stalled {
            self.stalled = true;
            self.seal();
            for block in std::mem::take(&mut self.blocks) {
                self.copy(&block);
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, target: &TcpStream) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let tail = Some(&self.tail[..]).filter(|tail| !tail.is_empty());
        let pieces = self.blocks.iter().map(|block| &block[..]).chain(tail);
        let count =
            slices.iter_mut().zip(pieces).map(|(slot, piece)| *slot = IoSlice::new(piece)).count();
        loop {
            ready!(target.poll_write_ready(cx))?;
            match target.try_write_vectored(&slices[..count]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(written) => {
                    self.advance(written);
                    return Poll::Ready(Ok(written));
                }
            }
        }
    }

    fn advance(&mut self, mut written: usize) {
        self.len -= written;
        while let Some(block) = self.blocks.front_mut() {
            if written < block.len() {
                return block.advance(written);
            }
            written -= block.len();
            self.blocks.pop_front();
        }
        self.tail.advance(written);
        if self.len == 0 {
            self.stalled = false;
            self.tail = BytesMut::new();
        }
    }
}
