//! Flows in capsules over another tunnel: connect-tcp, and UDP over HTTP/1.1.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Sink, Stream};
use pseudotcp_masque::bytestream::{self, END, data_head};
use pseudotcp_masque::capsule::CapsuleError;
use pseudotcp_masque::datagram::{self, Format, MAX_PAYLOAD};
use pseudotcp_masque::{AbortCode, ByteStream, ByteTunnel, DatagramStream, MAX_CHUNK, TunnelError};

use super::outbox::Outbox;
use crate::state::Counters;

/// A chunk shorter than this is copied behind its head, so that both leave together.
const SMALL: usize = 4 * 1024;

fn broken(error: CapsuleError) -> TunnelError {
    TunnelError::Protocol(error.into())
}

/// A TCP flow in DATA capsules (draft-ietf-httpbis-connect-tcp).
pub(crate) struct TcpCapsules {
    bytes: ByteTunnel,
    decoder: bytestream::Decoder,
    chunk: Bytes,
    ended: bool,
    /// What waits for the tunnel below: a head and what belongs to it.
    waiting: VecDeque<Bytes>,
    closed: bool,
}

impl TcpCapsules {
    pub(crate) fn new(bytes: ByteTunnel) -> Self {
        let (decoder, waiting) = (bytestream::Decoder::new(), VecDeque::new());
        Self { bytes, decoder, chunk: Bytes::new(), ended: false, waiting, closed: false }
    }

    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        while !self.waiting.is_empty() {
            ready!(Pin::new(&mut self.bytes).poll_ready(cx))?;
            if let Some(next) = self.waiting.pop_front() {
                Pin::new(&mut self.bytes).start_send(next)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, TunnelError>> {
        loop {
            if let Some(bytes) = self.decoder.decode(&mut self.chunk).map_err(broken)? {
                return Poll::Ready(Ok(Some(bytes)));
            }
            if self.decoder.is_finished() {
                return Poll::Ready(Ok(None));
            }
            match ready!(Pin::new(&mut self.bytes).poll_next(cx)) {
                Some(chunk) => self.chunk = chunk?,
                // Without FINAL_DATA the flow was cut off.
                None => return Poll::Ready(Err(TunnelError::Reset)),
            }
        }
    }
}

impl Stream for TcpCapsules {
    type Item = Result<Bytes, TunnelError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = ready!(self.poll_chunk(cx)).transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        Poll::Ready(next)
    }
}

impl Sink<Bytes> for TcpCapsules {
    type Error = TunnelError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        ready!(self.poll_push(cx))?;
        Pin::new(&mut self.bytes).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, item: Bytes) -> Result<(), TunnelError> {
        let head = data_head(u32::try_from(item.len()).unwrap_or(bytestream::MAX_DATA));
        let first = if item.len() < SMALL {
            Bytes::from([&head[..], &item].concat())
        } else {
            self.waiting.push_back(item);
            Bytes::copy_from_slice(&head)
        };
        Pin::new(&mut self.bytes).start_send(first)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        ready!(self.poll_push(cx))?;
        Pin::new(&mut self.bytes).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        if !self.closed {
            self.closed = true;
            self.waiting.push_back(Bytes::from_static(&END));
        }
        ready!(self.poll_push(cx))?;
        Pin::new(&mut self.bytes).poll_close(cx)
    }
}

impl ByteStream for TcpCapsules {
    fn abort(&mut self, code: AbortCode) {
        self.waiting.clear();
        self.bytes.abort(code);
    }
}

/// A UDP flow in DATAGRAM capsules.
pub(crate) struct UdpCapsules {
    bytes: ByteTunnel,
    decoder: datagram::Decoder,
    chunk: BytesOrEnd,
    outbox: Outbox,
    /// The end of a capsule longer than a chunk.
    rest: Bytes,
}

enum BytesOrEnd {
    Bytes(Bytes),
    End,
}

impl UdpCapsules {
    pub(crate) fn new(bytes: ByteTunnel, format: Format, counters: Arc<Counters>) -> Self {
        let decoder = datagram::Decoder::with_format(format);
        let chunk = BytesOrEnd::Bytes(Bytes::new());
        Self { bytes, decoder, chunk, outbox: Outbox::new(format, counters), rest: Bytes::new() }
    }

    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        while !self.rest.is_empty() || self.outbox.wanted() > 0 {
            ready!(Pin::new(&mut self.bytes).poll_ready(cx))?;
            if self.rest.is_empty() {
                self.rest = self.outbox.merge(MAX_CHUNK);
            }
            // The largest datagram's capsule is a little longer than a chunk.
            let chunk = self.rest.split_to(self.rest.len().min(MAX_CHUNK));
            Pin::new(&mut self.bytes).start_send(chunk)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_datagram(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, TunnelError>> {
        loop {
            let BytesOrEnd::Bytes(chunk) = &mut self.chunk else { return Poll::Ready(Ok(None)) };
            if let Some(payload) = self.decoder.decode(chunk).map_err(broken)? {
                return Poll::Ready(Ok(Some(payload)));
            }
            if let Some(bytes) = ready!(Pin::new(&mut self.bytes).poll_next(cx)) {
                self.chunk = BytesOrEnd::Bytes(bytes?);
            } else {
                self.chunk = BytesOrEnd::End;
                self.decoder.finish().map_err(broken)?;
            }
        }
    }
}

impl Stream for UdpCapsules {
    type Item = Result<Bytes, TunnelError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.poll_datagram(cx)).transpose();
        if !matches!(next, Some(Ok(_))) {
            self.chunk = BytesOrEnd::End;
        }
        Poll::Ready(next)
    }
}

impl Sink<Bytes> for UdpCapsules {
    type Error = TunnelError;

    fn poll_ready(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, datagram: Bytes) -> Result<(), TunnelError> {
        self.outbox.push(datagram);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        ready!(self.poll_push(cx))?;
        Pin::new(&mut self.bytes).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        ready!(self.poll_push(cx))?;
        Pin::new(&mut self.bytes).poll_close(cx)
    }
}

impl DatagramStream for UdpCapsules {
    fn max_datagram_size(&self) -> usize {
        MAX_PAYLOAD
    }
}
