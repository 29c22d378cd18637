use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{RecvError, State};
use smoltcp::socket::udp;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::Datagrams;
use super::Net;

/// A TCP socket of the host.
pub(in super::super::super) struct TcpHandle {
    net: Rc<RefCell<Net>>,
    handle: SocketHandle,
}

impl TcpHandle {
    pub(super) fn new(net: Rc<RefCell<Net>>, handle: SocketHandle) -> Self {
        Self { net, handle }
    }

    /// Waits for the handshake; a reset is "connection refused".
    pub(super) async fn connected(&self) -> io::Result<()> {
        poll_fn(|cx| {
            let mut net = self.net.borrow_mut();
            let socket = net.tcp(self.handle);
            match socket.state() {
                State::SynSent | State::SynReceived => {
                    socket.register_send_waker(cx.waker());
                    Poll::Pending
                }
                State::Closed => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
                _ => Poll::Ready(Ok(())),
            }
        })
        .await
    }
}

impl AsyncRead for TcpHandle {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut net = self.net.borrow_mut();
        let socket = net.tcp(self.handle);
        if !socket.can_recv() && socket.may_recv() {
            socket.register_recv_waker(cx.waker());
            return Poll::Pending;
        }
        match socket.recv_slice(buffer.initialize_unfilled()) {
            Ok(n) => {
                buffer.advance(n);
                net.kick();
                Poll::Ready(Ok(()))
            }
            Err(RecvError::Finished) => Poll::Ready(Ok(())),
            Err(RecvError::InvalidState) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl AsyncWrite for TcpHandle {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut net = self.net.borrow_mut();
        let socket = net.tcp(self.handle);
        if !socket.can_send() && socket.may_send() {
            socket.register_send_waker(cx.waker());
            return Poll::Pending;
        }
        let sent = socket.send_slice(buffer);
        net.kick();
        Poll::Ready(sent.map_err(|_| io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut net = self.net.borrow_mut();
        net.tcp(self.handle).close();
        net.kick();
        Poll::Ready(Ok(()))
    }
}

/// Dropping closes the socket by FIN.
impl Drop for TcpHandle {
    fn drop(&mut self) {
        self.net.borrow_mut().close(self.handle);
    }
}

/// A UDP socket of the host that talks to one peer.
pub(in super::super::super) struct UdpHandle {
    net: Rc<RefCell<Net>>,
    handle: SocketHandle,
    peer: SocketAddr,
}

impl UdpHandle {
    pub(super) fn new(net: Rc<RefCell<Net>>, handle: SocketHandle, peer: SocketAddr) -> Self {
        Self { net, handle, peer }
    }
}

impl Datagrams for UdpHandle {
    async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        poll_fn(|cx| {
            let mut net = self.net.borrow_mut();
            let socket = net.udp(self.handle);
            match socket.send_slice(datagram, self.peer) {
                Ok(()) => {
                    net.kick();
                    Poll::Ready(Ok(()))
                }
                Err(udp::SendError::BufferFull) => {
                    socket.register_send_waker(cx.waker());
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(io::Error::other(error))),
            }
        })
        .await
    }

    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| {
            let mut net = self.net.borrow_mut();
            let socket = net.udp(self.handle);
            match socket.recv_slice(buffer) {
                Ok((len, _)) => Poll::Ready(Ok(len)),
                Err(udp::RecvError::Exhausted) => {
                    socket.register_recv_waker(cx.waker());
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(io::Error::other(error))),
            }
        })
        .await
    }
}
