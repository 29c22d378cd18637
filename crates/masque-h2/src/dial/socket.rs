//! The sockets to the proxy.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use crate::Config;

/// How much may wait in the kernel unsent (`TCP_NOTSENT_LOWAT`): what waits there longer than
/// needed delays every flow alike.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NOT_SENT: u32 = 32 * 1024;

/// A connected socket with its options.
pub(super) async fn connect(config: &Config, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = prepare(config, address)?;
    TcpSocket::from_std_stream(socket.into()).connect(address).await
}

/// A socket with its options, shown to the hook before it connects.
fn prepare(config: &Config, address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        socket.set_tcp_notsent_lowat(NOT_SENT)?;
        config.mark.map_or(Ok(()), |mark| socket.set_mark(mark))?;
        let device = config.device.as_deref();
        device.map_or(Ok(()), |name| socket.bind_device(Some(name.as_bytes())))?;
    }
    #[cfg(target_os = "linux")]
    if let Some(name) = &config.congestion_control {
        socket.set_tcp_congestion(name.as_bytes())?;
    }
    if let Some(bytes) = config.socket_buffer {
        socket.set_recv_buffer_size(bytes)?;
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(protect) = &config.protect {
        protect(socket.as_fd())?;
    }
    Ok(socket)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn sockets_have_the_congestion_control_that_was_asked_for() {
        let config = Config::new("https://proxy.example").unwrap();
        let prepared = |name| {
            let config = config.clone().congestion_control(name);
            prepare(&config, "127.0.0.1:443".parse().unwrap())
        };
        // Every kernel has and allows it.
        let name = prepared("reno").unwrap().tcp_congestion().unwrap();
        assert_eq!(name.split(|byte| *byte == 0).next(), Some(&b"reno"[..]));
        assert_eq!(prepared("no such").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
