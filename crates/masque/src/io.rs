//! Tunnels as byte streams of the asynchronous kind, and the other way round (feature `io`).
//!
//! ```text
//!   ByteTunnel ── TunnelIo ──▶ AsyncRead + AsyncWrite      a transport below TLS: a hop
//!   AsyncRead + AsyncWrite ── IoTunnel ──▶ ByteTunnel      HTTP/1.1's CONNECT, an in-memory pipe
//! ```

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{AbortCode, ByteStream, ByteTunnel, MAX_CHUNK, TunnelError};

/// The most bytes of one read: 16 KiB, what one TLS record gives.
const READ: usize = 16 * 1024;

/// A chunk shorter than this is copied, since it would pin a buffer several times its size.
const SMALL: usize = 4 * 1024;

/// A tunnel as a byte stream: what is written leaves with the next flush, or when a chunk is full.
///
/// The far side's reset, and the loss of what carries the tunnel, are errors of reading and writing;
/// shutting down is a half-close.
pub struct TunnelIo {
    tunnel: ByteTunnel,
    /// What has been taken from the tunnel and not been read yet.
    unread: Bytes,
    /// What waits for the tunnel to take it.
    unsent: BytesMut,
}

impl TunnelIo {
    /// Wraps an open tunnel.
    pub fn new(tunnel: ByteTunnel) -> Self {
        Self { tunnel, unread: Bytes::new(), unsent: BytesMut::new() }
    }

    /// Hands the tunnel what waits.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unsent.is_empty() {
            ready!(Pin::new(&mut self.tunnel).poll_ready(cx)).map_err(io::Error::other)?;
            let chunk = self.unsent.split().freeze();
            Pin::new(&mut self.tunnel).start_send(chunk).map_err(io::Error::other)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for TunnelIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.tunnel).poll_next(cx)) {
                Some(Ok(chunk)) => self.unread = chunk,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.unsent.len() >= MAX_CHUNK {
            ready!(self.poll_push(cx))?;
        }
        let length = bytes.len().min(MAX_CHUNK - self.unsent.len());
        self.unsent.extend_from_slice(&bytes[..length]);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_push(cx))?;
        Pin::new(&mut self.tunnel).poll_flush(cx).map_err(io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_push(cx))?;
        Pin::new(&mut self.tunnel).poll_close(cx).map_err(io::Error::other)
    }
}

impl fmt::Debug for TunnelIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunnelIo").finish_non_exhaustive()
    }
}

/// A byte stream as a tunnel: its end is the target's, and an error of it a reset.
///
/// An abort drops the stream at once; what the far side hears of it is the stream's own affair.
#[derive(Debug)]
pub struct IoTunnel<T> {
    /// `None` once the flow was aborted or has failed.
    io: Option<T>,
    /// Bytes that were read before the tunnel was made, and come first.
    early: Bytes,
    buffer: BytesMut,
    slot: Bytes,
    ended: bool,
}

impl<T: AsyncRead + AsyncWrite + Unpin> IoTunnel<T> {
    /// Wraps a connected byte stream, of which `early` has been read already.
    pub fn new(io: T, early: Bytes) -> Self {
        Self { io: Some(io), early, buffer: BytesMut::new(), slot: Bytes::new(), ended: false }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, TunnelError>> {
        if !self.early.is_empty() {
            return Poll::Ready(Ok(std::mem::take(&mut self.early)));
        }
        let io = self.io.as_mut().ok_or(TunnelError::Reset)?;
        self.buffer.resize(READ, 0);
        let mut into = ReadBuf::new(&mut self.buffer);
        let read = Pin::new(io).poll_read(cx, &mut into);
        let length = into.filled().len();
        if !matches!(read, Poll::Ready(Ok(()))) {
            // A flow that waits keeps no buffer.
            self.buffer = BytesMut::new();
        }
        match ready!(read) {
            Ok(()) if length < SMALL => {
                Poll::Ready(Ok(Bytes::copy_from_slice(&self.buffer[..length])))
            }
            Ok(()) => Poll::Ready(Ok(self.buffer.split_to(length).freeze())),
            Err(error) => Poll::Ready(Err(self.fail(error))),
        }
    }

    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        while !self.slot.is_empty() {
            let io = self.io.as_mut().ok_or(TunnelError::Reset)?;
            match ready!(Pin::new(io).poll_write(cx, &self.slot)) {
                Ok(0) => return Poll::Ready(Err(self.fail(io::ErrorKind::WriteZero.into()))),
                Ok(written) => self.slot.advance(written),
                Err(error) => return Poll::Ready(Err(self.fail(error))),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn fail(&mut self, error: io::Error) -> TunnelError {
        self.io = None;
        self.slot.clear();
        match error.kind() {
            io::ErrorKind::InvalidData => TunnelError::Protocol(error.into()),
            _ => TunnelError::Reset,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for IoTunnel<T> {
    type Item = Result<Bytes, TunnelError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let chunk = ready!(self.poll_chunk(cx));
        self.ended = chunk.as_ref().map_or(true, Bytes::is_empty);
        let clean_end = chunk.as_ref().is_ok_and(Bytes::is_empty);
        Poll::Ready((!clean_end).then_some(chunk))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Sink<Bytes> for IoTunnel<T> {
    type Error = TunnelError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        ready!(self.poll_push(cx))?;
        Poll::Ready(if self.io.is_some() { Ok(()) } else { Err(TunnelError::Reset) })
    }

    fn start_send(mut self: Pin<&mut Self>, item: Bytes) -> Result<(), TunnelError> {
        debug_assert!(self.slot.is_empty() && item.len() <= MAX_CHUNK);
        self.slot = item;
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        ready!(self.poll_push(cx))?;
        let Some(io) = self.io.as_mut() else { return Poll::Ready(Err(TunnelError::Reset)) };
        let flushed = ready!(Pin::new(io).poll_flush(cx));
        Poll::Ready(flushed.map_err(|error| self.fail(error)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        ready!(self.poll_push(cx))?;
        let Some(io) = self.io.as_mut() else { return Poll::Ready(Err(TunnelError::Reset)) };
        let closed = ready!(Pin::new(io).poll_shutdown(cx));
        Poll::Ready(closed.map_err(|error| self.fail(error)))
    }
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for IoTunnel<T> {
    fn abort(&mut self, _: AbortCode) {
        self.io = None;
        self.slot.clear();
    }
}

#[cfg(test)]
mod tests {
    use futures::{SinkExt as _, StreamExt as _};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn early() -> Bytes {
        Bytes::from_static(b"early ")
    }

    #[tokio::test]
    async fn a_stream_is_a_tunnel_is_a_stream() {
        let (near, mut far) = duplex(1_000);
        let tunnel: ByteTunnel = Box::new(IoTunnel::new(near, early()));
        let mut io = TunnelIo::new(tunnel);
        far.write_all(b"bird").await.unwrap();
        let mut read = [0; 10];
        io.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"early bird");
        let sent = vec![7; 200_000];
        let sending = async {
            io.write_all(&sent).await.unwrap();
            io.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let ((), length) =
            tokio::join!(sending, async { far.read_to_end(&mut received).await.unwrap() });
        assert_eq!(length, sent.len());
        assert_eq!(received, sent);
        drop(far);
        assert_eq!(io.read(&mut read).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn an_aborted_tunnel_says_nothing_more() {
        let (near, mut far) = duplex(1_000);
        let mut tunnel = IoTunnel::new(near, Bytes::new());
        tunnel.send(Bytes::from_static(b"x")).await.unwrap();
        tunnel.abort(AbortCode::Cancel);
        assert!(matches!(tunnel.next().await, Some(Err(TunnelError::Reset))));
        assert!(tunnel.next().await.is_none());
        assert!(tunnel.send(Bytes::from_static(b"y")).await.is_err());
        let mut received = Vec::new();
        far.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"x");
    }
}
