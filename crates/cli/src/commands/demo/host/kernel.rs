use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpStream, UdpSocket};

use super::{Datagrams, Host};

/// The kernel's own sockets, in the network namespace of the calling thread.
pub(in super::super) struct KernelHost;

impl Host for KernelHost {
    type Stream = TcpStream;
    type Datagrams = UdpSocket;

    async fn connect(&self, target: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn datagrams(&self, target: SocketAddr) -> io::Result<UdpSocket> {
        let any: SocketAddr = match target {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(target).await?;
        Ok(socket)
    }
}

impl Datagrams for UdpSocket {
    async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        UdpSocket::send(self, datagram).await.map(drop)
    }

    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        UdpSocket::recv(self, buffer).await
    }
}
