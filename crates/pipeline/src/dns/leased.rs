use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use pseudotcp_dns::fake::Lease;
use pseudotcp_masque::{
    AbortCode, ByteStream, ByteTunnel, DatagramStream, DatagramTunnel, TunnelError,
};

/// A tunnel to a name; while it is there, the fake address that the app uses stands for that name.
pub(super) struct Leased<T> {
    tunnel: T,
    _lease: Lease,
}

impl<T> Leased<T> {
    pub(super) fn new(tunnel: T, lease: Lease) -> Self {
        Self { tunnel, _lease: lease }
    }
}

impl<T: Sink<Bytes, Error = TunnelError> + Unpin> Sink<Bytes> for Leased<T> {
    type Error = TunnelError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.tunnel.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, item: Bytes) -> Result<(), TunnelError> {
        self.tunnel.start_send_unpin(item)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.tunnel.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.tunnel.poll_close_unpin(cx)
    }
}

impl<T: Stream<Item = Result<Bytes, TunnelError>> + Unpin> Stream for Leased<T> {
    type Item = Result<Bytes, TunnelError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.tunnel.poll_next_unpin(cx)
    }
}

impl ByteStream for Leased<ByteTunnel> {
    fn abort(&mut self, code: AbortCode) {
        self.tunnel.abort(code);
    }
}

impl DatagramStream for Leased<DatagramTunnel> {
    fn max_datagram_size(&self) -> usize {
        self.tunnel.max_datagram_size()
    }
}
