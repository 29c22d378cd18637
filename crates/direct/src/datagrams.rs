use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::{FutureExt, Sink, Stream};
use pseudotcp_masque::{DatagramStream, TunnelError};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::cause;

/// The most bytes of a UDP payload: 65,535 less the headers.
const MAX_IPV4_PAYLOAD: usize = 65_507;
const MAX_IPV6_PAYLOAD: usize = 65_527;

/// A UDP flow on a connected socket of this machine. The kernel's buffers are its queues.
pub(crate) struct SocketDatagrams {
    /// `None` once the flow has failed.
    socket: Option<Arc<UdpSocket>>,
    max_datagram_size: usize,
    /// The one datagram that waits for the kernel.
    slot: Option<Bytes>,
    read_buffer: BytesMut,
    /// The wait for the next datagram or error. tokio's `poll_recv_ready` would not do: an ICMP
    /// error alone makes a socket ready for neither reading nor writing.
    readiness: Option<BoxFuture<'static, io::Result<()>>>,
    /// Whether the stream has given its last item.
    ended: bool,
}

impl SocketDatagrams {
    pub(crate) fn new(socket: UdpSocket) -> Self {
        let is_ipv4 = socket.peer_addr().is_ok_and(|peer| peer.is_ipv4());
        Self {
            socket: Some(Arc::new(socket)),
            max_datagram_size: if is_ipv4 { MAX_IPV4_PAYLOAD } else { MAX_IPV6_PAYLOAD },
            slot: None,
            read_buffer: BytesMut::new(),
            readiness: None,
            ended: false,
        }
    }

    /// Sends the datagram that waits.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        let socket = self.socket.as_ref().ok_or(TunnelError::Unreachable)?;
        while let Some(datagram) = &self.slot {
            match socket.try_send(datagram) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(socket.poll_send_ready(cx)).map_err(unusable)?;
                }
                sent => {
                    self.slot = None;
                    if let Some(cause) = sent.err().and_then(cause::of_datagram) {
                        self.socket = None;
                        return Poll::Ready(Err(cause));
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_datagram(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, TunnelError>> {
        loop {
            let socket = self.socket.as_ref().ok_or(TunnelError::Unreachable)?;
            match try_receive(socket, &mut self.read_buffer) {
                None => ready!(self.poll_readiness(cx)).map_err(unusable)?,
                Some(Ok(datagram)) => return Poll::Ready(Ok(datagram)),
                Some(Err(error)) => {
                    if let Some(cause) = cause::of_datagram(error) {
                        self.socket = None;
                        return Poll::Ready(Err(cause));
                    }
                }
            }
        }
    }

    /// Waits for a datagram or an error.
    fn poll_readiness(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(socket) = &self.socket else { return Poll::Ready(Ok(())) };
        let readiness = self.readiness.get_or_insert_with(|| {
            let socket = Arc::clone(socket);
            async move { socket.ready(Interest::READABLE | Interest::ERROR).await.map(drop) }
                .boxed()
        });
        let ready = ready!(readiness.poll_unpin(cx));
        self.readiness = None;
        Poll::Ready(ready)
    }
}

/// The datagram or error that waits on the socket, if any.
fn try_receive(socket: &UdpSocket, buffer: &mut BytesMut) -> Option<io::Result<Bytes>> {
    buffer.clear();
    buffer.reserve(MAX_IPV6_PAYLOAD);
    match socket.try_recv_buf(buffer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            // An idle flow keeps no buffer.
            *buffer = BytesMut::new();
            waiting_error(socket).map(Err)
        }
        received => Some(received.map(|_| Bytes::copy_from_slice(buffer))),
    }
}

/// The error that waits on a socket without datagrams: the target's ICMP answer.
fn waiting_error(socket: &UdpSocket) -> Option<io::Error> {
    let take_error = || match socket.take_error() {
        Ok(None) => Err(ErrorKind::WouldBlock.into()),
        Ok(Some(error)) | Err(error) => Err(error),
    };
    // Without an error to report this also makes tokio wait for the next one.
    let result: io::Result<()> = socket.try_io(Interest::ERROR, take_error);
    result.err().filter(|error| error.kind() != ErrorKind::WouldBlock)
}

/// The runtime that drives the socket is gone.
fn unusable(error: io::Error) -> TunnelError {
    TunnelError::Protocol(Box::new(error))
}

impl Sink<Bytes> for SocketDatagrams {
    type Error = TunnelError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.poll_push(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, item: Bytes) -> Result<(), TunnelError> {
        // Whole or not at all.
        self.slot = Some(item).filter(|datagram| datagram.len() <= self.max_datagram_size);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.poll_push(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.poll_push(cx)
    }
}

impl Stream for SocketDatagrams {
    type Item = Result<Bytes, TunnelError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let datagram = ready!(self.poll_datagram(cx));
        self.ended = datagram.is_err();
        Poll::Ready(Some(datagram))
    }
}

impl DatagramStream for SocketDatagrams {
    fn max_datagram_size(&self) -> usize {
        self.max_datagram_size
    }
}
