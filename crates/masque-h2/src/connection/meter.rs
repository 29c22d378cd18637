//! What passes between TLS and HTTP/2, counted, and rationed for the sake of the other tasks.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;

use crate::state::{Counters, count};

/// How many bytes one poll of a connection reads at most, before other tasks have their turn.
const RATION: usize = 512 * 1024;

/// The counts of one connection.
#[derive(Debug)]
pub(crate) struct Meter {
    read: AtomicU64,
    written: AtomicU64,
    ration: AtomicUsize,
    counters: Arc<Counters>,
}

impl Meter {
    pub(crate) fn new(counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            ration: AtomicUsize::new(RATION),
            counters,
        })
    }

    /// Bytes read so far.
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes written so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Grants the ration of another poll.
    pub(crate) fn refill(&self) {
        self.ration.store(RATION, Ordering::Relaxed);
    }
}

/// A byte stream with a meter.
#[derive(Debug)]
pub(crate) struct Metered<T> {
    io: T,
    meter: Arc<Meter>,
}

impl<T> Metered<T> {
    pub(crate) fn new(io: T, meter: Arc<Meter>) -> Self {
        Self { io, meter }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Metered<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let ration = self.meter.ration.load(Ordering::Relaxed);
        if ration == 0 {
            // To be woken at once would mean to run again and again before the runtime looks at
            // sockets, timers and whoever called it: dozens of rations. This lets all of them run first.
            let _woken_later = pin!(yield_now()).poll(cx);
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let read = buffer.filled().len() - before;
        self.meter.ration.store(ration.saturating_sub(read), Ordering::Relaxed);
        count(&self.meter.read, read as u64);
        count(&self.meter.counters.bytes_received, read as u64);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Metered<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        count(&self.meter.written, written as u64);
        count(&self.meter.counters.bytes_sent, written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
