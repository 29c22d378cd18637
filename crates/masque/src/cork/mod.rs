//! A write buffer between an HTTP/2 connection and its socket (feature `cork`).
//!
//! ```text
//!   h2 ── poll_write, poll_flush ──▶ Corked ──┐ buffer, at most `limit` bytes
//!   the connection's task ── poll_drain ──▶ CorkHandle ──▶ TLS, socket: one write for many frames
//! ```
//!
//! An HTTP/2 library writes and flushes after every frame, which costs one TLS record and one
//! system call a frame. [`Corked`] takes such writes into a buffer and answers a flush with "done".
//! The task that drives the connection empties the buffer through the [`CorkHandle`] once after
//! each poll of the connection, so that all frames of one poll leave together:
//!
//! ```no_run
//! # use std::{future::{Future, poll_fn}, io, pin::Pin, task::Poll};
//! # use tokio::io::DuplexStream;
//! # use pseudotcp_masque::cork::CorkHandle;
//! # async fn drive<C: Future<Output = ()> + Unpin>(mut connection: C, cork: CorkHandle<DuplexStream>) -> io::Result<()> {
//! poll_fn(|cx| {
//!     let done = Pin::new(&mut connection).poll(cx);
//!     match cork.poll_drain(cx) {
//!         Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
//!         _ => done.map(Ok),
//!     }
//! })
//! .await
//! # }
//! ```
//!
//! The same must be done around the library's handshake, which writes and flushes too. Nothing else
//! empties the buffer but a write that finds it full, and the shutdown.

mod frame;
mod pace;

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use self::frame::{FrameLimit, MAX_FRAME};

use self::pace::Pace;

/// A byte stream whose writes are held back until the [`CorkHandle`] is drained.
pub struct Corked<T> {
    inner: Arc<Mutex<Inner<T>>>,
}

/// Empties the buffer of a [`Corked`] stream.
///
/// Stream and handle belong to one task: the lock between them is never contended, and wake-ups of
/// the underlying stream go to whoever polled last.
pub struct CorkHandle<T> {
    inner: Arc<Mutex<Inner<T>>>,
}

struct Inner<T> {
    io: T,
    held: BytesMut,
    pace: Pace,
    frames: FrameLimit,
}

impl<T> Corked<T> {
    /// Puts a buffer of at most `limit` bytes (64 KiB serve well) in front of `io`. Where `io` takes
    /// them slowly, it holds what leaves within 2 ms, or one short frame.
    pub fn new(io: T, limit: usize) -> (Self, CorkHandle<T>) {
        let pace = Pace::new(limit.max(1));
        let frames = FrameLimit::new(pace.limit());
        let inner = Inner { io, held: BytesMut::new(), pace, frames };
        let inner = Arc::new(Mutex::new(inner));
        (Self { inner: Arc::clone(&inner) }, CorkHandle { inner })
    }
}

impl<T: AsyncWrite + Unpin> CorkHandle<T> {
    /// Writes what is held and flushes the stream below.
    ///
    /// `Pending` means that the stream below takes no more just now; the task is woken when it does
    /// and then drains again.
    pub fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.inner).poll_drain(cx)
    }

    /// How long frames should be, as the stream below takes them now.
    pub fn frame_limit(&self) -> FrameLimit {
        lock(&self.inner).frames.clone()
    }

    /// How many bytes wait in the buffer.
    pub fn held(&self) -> usize {
        lock(&self.inner).held.len()
    }
}

impl<T: AsyncWrite + Unpin> Inner<T> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let drained = self.poll_empty(cx);
        match &drained {
            Poll::Ready(_) => self.pace.emptied(),
            Poll::Pending => self.pace.blocked(),
        }
        self.frames.follow(self.pace.limit());
        drained
    }

    fn poll_empty(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // Where the stream below has a buffer of its own, as TLS does, it holds one part.
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            if self.held.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let part = self.held.get(..self.pace.limit()).unwrap_or(&self.held);
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, part))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(written);
            self.pace.took(written);
        }
    }

    /// Room for at least one byte, draining if that is the only way.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.held.len() >= self.pace.limit()
            && let Poll::Ready(Err(error)) = self.poll_drain(cx)
        {
            return Poll::Ready(Err(error));
        }
        match self.pace.limit().saturating_sub(self.held.len()) {
            0 => Poll::Pending,
            room => Poll::Ready(Ok(room)),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Corked<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = lock(&self.inner);
        let room = ready!(inner.poll_room(cx))?;
        let mut left = room;
        for slice in slices {
            let taken = slice.get(..left).unwrap_or(slice);
            inner.held.extend_from_slice(taken);
            left -= taken.len();
        }
        Poll::Ready(Ok(room - left))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.inner);
        ready!(inner.poll_drain(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Corked<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.inner).io).poll_read(cx, buffer)
    }
}

impl<T> fmt::Debug for Corked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Corked").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for CorkHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CorkHandle").finish_non_exhaustive()
    }
}

/// A panic elsewhere leaves the buffer consistent, so a poisoned lock is taken all the same.
fn lock<T>(inner: &Mutex<Inner<T>>) -> MutexGuard<'_, Inner<T>> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use super::*;

    /// Takes `room` bytes, then is full; remembers each write by itself.
    struct Scripted {
        room: usize,
        writes: Vec<Vec<u8>>,
    }

    impl AsyncWrite for Scripted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.room);
            if taken == 0 {
                return Poll::Pending;
            }
            self.room -= taken;
            self.writes.push(bytes[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn corked(room: usize, limit: usize) -> (Corked<Scripted>, CorkHandle<Scripted>) {
        Corked::new(Scripted { room, writes: Vec::new() }, limit)
    }

    fn write(cork: &mut Corked<Scripted>, slices: &[&[u8]]) -> Poll<usize> {
        let slices: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        let cx = &mut Context::from_waker(Waker::noop());
        Pin::new(cork).poll_write_vectored(cx, &slices).map(Result::unwrap)
    }

    fn drain(handle: &CorkHandle<Scripted>) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        handle.poll_drain(cx).map(Result::unwrap).is_ready()
    }

    fn writes(handle: &CorkHandle<Scripted>) -> Vec<Vec<u8>> {
        lock(&handle.inner).io.writes.clone()
    }

    #[test]
    fn many_writes_leave_as_one() {
        let (mut cork, handle) = corked(100, 64);
        assert_eq!(write(&mut cork, &[b"head", b"body"]), Poll::Ready(8));
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut cork).poll_flush(cx).is_ready());
        assert_eq!(write(&mut cork, &[b"tail"]), Poll::Ready(4));
        assert!(writes(&handle).is_empty());
        assert!(drain(&handle));
        assert_eq!(writes(&handle), [b"headbodytail"]);
    }

    #[test]
    fn the_buffer_is_bounded() {
        let (mut cork, handle) = corked(5, 8);
        assert_eq!(write(&mut cork, &[b"0123", b"456789"]), Poll::Ready(8));
        // Full: the next write first empties what the stream below takes.
        assert_eq!(write(&mut cork, &[b"abcdefgh"]), Poll::Ready(5));
        assert_eq!(write(&mut cork, &[b"x"]), Poll::Pending);
        assert!(!drain(&handle));
        assert_eq!(handle.held(), 8);
        lock(&handle.inner).io.room = 100;
        assert!(drain(&handle));
        assert_eq!(writes(&handle).concat(), b"01234567abcde");
    }

    #[tokio::test(start_paused = true)]
    async fn frames_are_short_while_the_stream_below_is_slow() {
        let (mut cork, handle) = corked(0, 64 * 1024);
        let frames = handle.frame_limit();
        assert_eq!(frames.get(), MAX_FRAME as usize);
        assert_eq!(write(&mut cork, &[&vec![0; 60_000]]), Poll::Ready(60_000));
        assert!(!drain(&handle));
        tokio::time::advance(Duration::from_millis(2)).await;
        lock(&handle.inner).io.room = 1_000;
        assert!(!drain(&handle));
        assert_eq!(frames.get(), 4 * 1024 - 9);
        lock(&handle.inner).io.room = usize::MAX;
        assert!(drain(&handle));
        for _ in 0..2 {
            assert_eq!(write(&mut cork, &[&[0; 4_000]]), Poll::Ready(4_000));
            assert!(drain(&handle));
        }
        assert_eq!(frames.get(), MAX_FRAME as usize);
    }

    #[test]
    fn shutdown_empties_the_buffer() {
        let (mut cork, handle) = corked(100, 8);
        assert_eq!(write(&mut cork, &[b"bye"]), Poll::Ready(3));
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut cork).poll_shutdown(cx).is_ready());
        assert_eq!(writes(&handle), [b"bye"]);
    }
}
