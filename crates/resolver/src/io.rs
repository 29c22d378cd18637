//! A tunnel as TLS wants its transport.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::{SinkExt, StreamExt};
use pseudotcp_masque::{ByteTunnel, MAX_CHUNK, TunnelError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A tunnel that is read and written by the byte.
pub(crate) struct TunnelIo {
    tunnel: ByteTunnel,
    unread: Bytes,
}

impl TunnelIo {
    pub(crate) fn new(tunnel: ByteTunnel) -> Self {
        Self { tunnel, unread: Bytes::new() }
    }
}

impl AsyncRead for TunnelIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            match ready!(self.tunnel.poll_next_unpin(cx)) {
                Some(Ok(chunk)) => self.unread = chunk,
                Some(Err(cause)) => return Poll::Ready(Err(error(cause))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let len = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..len]);
        self.unread.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.tunnel.poll_ready_unpin(cx)).map_err(error)?;
        let len = bytes.len().min(MAX_CHUNK);
        if len > 0 {
            let chunk = Bytes::copy_from_slice(&bytes[..len]);
            self.tunnel.start_send_unpin(chunk).map_err(error)?;
        }
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tunnel.poll_flush_unpin(cx).map_err(error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tunnel.poll_close_unpin(cx).map_err(error)
    }
}

fn error(cause: TunnelError) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, cause)
}
