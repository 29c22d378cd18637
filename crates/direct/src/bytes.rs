use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures::{Sink, Stream};
use pseudotcp_masque::{AbortCode, ByteStream, TunnelError};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use crate::cause;

/// The most bytes of one read, 64 KiB: what one chunk may hold.
const READ_CHUNK: usize = pseudotcp_masque::MAX_CHUNK;

/// Chunks smaller than this many bytes are copied, so that they do not pin a whole read buffer.
const COPY_BELOW: usize = READ_CHUNK / 4;

/// A TCP flow on a socket of this machine.
pub(crate) struct SocketBytes {
    /// `None` once the flow was aborted or has failed.
    stream: Option<TcpStream>,
    /// The sink's one item, or what is left of it.
    slot: Bytes,
    read_buffer: BytesMut,
    our_end_sent: bool,
    /// Whether the stream has given its last item.
    ended: bool,
}

impl SocketBytes {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream: Some(stream),
            slot: Bytes::new(),
            read_buffer: BytesMut::new(),
            our_end_sent: false,
            ended: false,
        }
    }

    /// Writes until the slot is empty.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        let stream = self.stream.as_ref().ok_or(TunnelError::Reset)?;
        let pushed = loop {
            if self.slot.is_empty() {
                break Ok(());
            }
            // Trying first spares a look at the clockwork of wake-ups while there is room.
            match stream.try_write(&self.slot) {
                Ok(written) => self.slot.advance(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(stream.poll_write_ready(cx)).map_err(cause::of_stream)?;
                }
                Err(error) => break Err(error),
            }
        };
        Poll::Ready(pushed.map_err(|error| self.fail(error)))
    }

    /// Reads one chunk; empty at the end of the stream.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, TunnelError>> {
        let stream = self.stream.as_ref().ok_or(TunnelError::Reset)?;
        let read = loop {
            self.read_buffer.reserve(READ_CHUNK);
            match stream.try_read_buf(&mut self.read_buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // An idle flow keeps no buffer.
                    self.read_buffer = BytesMut::new();
                    ready!(stream.poll_read_ready(cx)).map_err(cause::of_stream)?;
                }
                read => break read,
            }
        };
        Poll::Ready(read.map(|_| self.take_chunk()).map_err(|error| self.fail(error)))
    }

    fn take_chunk(&mut self) -> Bytes {
        if self.read_buffer.len() >= COPY_BELOW {
            return self.read_buffer.split().freeze();
        }
        let chunk = Bytes::copy_from_slice(&self.read_buffer);
        self.read_buffer.clear();
        chunk
    }

    fn fail(&mut self, error: io::Error) -> TunnelError {
        self.stream = None;
        cause::of_stream(error)
    }

    /// Closes the socket so that the target hears a reset, never a false end of stream.
    fn reset(&mut self) {
        self.slot.clear();
        if let Some(stream) = self.stream.take() {
            // Where the option cannot be set the connection is dead already.
            let _ = stream.set_zero_linger();
        }
    }
}

impl Sink<Bytes> for SocketBytes {
    type Error = TunnelError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.poll_push(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, item: Bytes) -> Result<(), TunnelError> {
        debug_assert!(self.slot.is_empty());
        self.slot = item;
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.poll_push(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        ready!(self.poll_push(cx))?;
        if let Some(stream) = self.stream.as_mut() {
            ready!(Pin::new(stream).poll_shutdown(cx)).map_err(|error| self.fail(error))?;
        }
        self.our_end_sent = true;
        Poll::Ready(Ok(()))
    }
}

impl Stream for SocketBytes {
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

impl ByteStream for SocketBytes {
    fn abort(&mut self, _: AbortCode) {
        self.reset();
    }
}

impl Drop for SocketBytes {
    fn drop(&mut self) {
        if !(self.our_end_sent && self.ended) {
            self.reset();
        }
    }
}
