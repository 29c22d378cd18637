//! A connection of HTTP/1.1 that has become a tunnel.

use std::future::Future;
use std::io;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncWrite as _, Interest};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::io::{poll_read_buf, poll_write_buf};

use crate::client::{self, Gone};

/// A client's connection.
pub(crate) type Io = TlsStream<TcpStream>;

/// What the client may send ahead of the target, in bytes.
const WINDOW: usize = 1 << 20;

/// How much is read at once: a TLS record.
const READ: usize = 16 * 1024;

/// The connection, shared by both directions of its tunnel. They belong to one task, so that the
/// lock is never contended.
#[derive(Clone)]
pub(crate) struct Line(Arc<Mutex<Io>>);

impl Line {
    pub(crate) fn new(io: Io) -> Self {
        Self(Arc::new(Mutex::new(io)))
    }

    /// Nothing panics while the lock is held.
    pub(crate) fn io(&self) -> MutexGuard<'_, Io> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to the client.
    pub(crate) fn sender(&self) -> io::Result<client::Sender> {
        Ok(client::Sender::H1(Sender { line: self.clone(), reset: self.reset()? }))
    }

    /// The way from the client; `early` was read already.
    pub(crate) fn receiver(&self, early: BytesMut) -> client::Receiver {
        let line = self.clone();
        client::Receiver::H1(Receiver { line, read: early, held: 0, stalled: None })
    }

    /// Ready when the client has reset the connection. Watched through a handle of its own, since
    /// nobody reads while the target does not.
    fn reset(&self) -> io::Result<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let handle = self.io().get_ref().0.as_fd().try_clone_to_owned()?;
        let socket = TcpStream::from_std(handle.into())?;
        Ok(Box::pin(async move { drop(socket.ready(Interest::ERROR).await) }))
    }
}

pub(crate) struct Receiver {
    line: Line,
    /// What was read and not handed out.
    read: BytesMut,
    /// What was handed out and not released.
    held: usize,
    /// Whom to wake when there is room again.
    stalled: Option<Waker>,
}

impl Receiver {
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Gone>>> {
        if self.held >= WINDOW {
            self.stalled = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if self.read.is_empty() {
            self.read.reserve(READ);
            match poll_read_buf(Pin::new(&mut *self.line.io()), cx, &mut self.read) {
                Poll::Ready(Ok(0)) => return Poll::Ready(None),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Some(Err(Gone))),
                Poll::Pending => {
                    // An idle tunnel keeps no buffer.
                    self.read = BytesMut::new();
                    return Poll::Pending;
                }
            }
        }
        self.held += self.read.len();
        Poll::Ready(Some(Ok(self.read.split().freeze())))
    }

    pub(super) fn release(&mut self, bytes: usize) {
        self.held -= bytes;
        if let Some(stalled) = self.stalled.take() {
            stalled.wake();
        }
    }
}

pub(crate) struct Sender {
    line: Line,
    reset: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Sender {
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        waiting: &mut BytesMut,
    ) -> Poll<Result<(), Gone>> {
        poll_write_buf(Pin::new(&mut *self.line.io()), cx, waiting).map_ok(drop).map_err(|_| Gone)
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        Pin::new(&mut *self.line.io()).poll_flush(cx).map_err(|_| Gone)
    }

    /// TLS says its `close_notify`, then TCP its FIN.
    pub(super) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        Pin::new(&mut *self.line.io()).poll_shutdown(cx).map_err(|_| Gone)
    }

    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.reset.as_mut().poll(cx)
    }
}
