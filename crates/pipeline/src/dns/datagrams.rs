use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Sink, Stream};
use pseudotcp_masque::{DatagramStream, TunnelError};

use super::desk::Client;

/// The largest UDP payload (RFC 768 over IPv4).
const MAX_DATAGRAM: usize = 65_507;

/// A UDP flow that speaks DNS: a question in each datagram, an answer in each.
pub(super) struct DatagramClient(Client);

impl DatagramClient {
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }
}

impl Sink<Bytes> for DatagramClient {
    type Error = TunnelError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, item: Bytes) -> Result<(), TunnelError> {
        self.0.ask(&item);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        Poll::Ready(Ok(()))
    }
}

impl Stream for DatagramClient {
    type Item = Result<Bytes, TunnelError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_answer(cx).map(|answer| Some(Ok(answer)))
    }
}

impl DatagramStream for DatagramClient {
    fn max_datagram_size(&self) -> usize {
        MAX_DATAGRAM
    }
}
