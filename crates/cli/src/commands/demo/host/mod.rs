//! Where the demo's sockets live: the kernel, or a small stack in this process.

mod kernel;
mod smoltcp;

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};

pub(super) use self::kernel::KernelHost;
pub(super) use self::smoltcp::SmoltcpHost;

/// A host whose sockets the demo uses, on a single thread.
pub(super) trait Host {
    /// A connected TCP socket. Shutting it down sends FIN.
    type Stream: AsyncRead + AsyncWrite + Unpin;
    /// A connected UDP socket.
    type Datagrams: Datagrams;

    /// Connects to `target`.
    async fn connect(&self, target: SocketAddr) -> io::Result<Self::Stream>;

    /// A UDP socket that talks to `target` alone.
    async fn datagrams(&self, target: SocketAddr) -> io::Result<Self::Datagrams>;
}

/// A connected UDP socket.
pub(super) trait Datagrams {
    /// Sends one datagram.
    async fn send(&self, datagram: &[u8]) -> io::Result<()>;

    /// Waits for one datagram; returns its length.
    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize>;
}
