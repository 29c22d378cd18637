//! UDP tunnels: connect-udp (RFC 9298) and its older draft, draft-ietf-masque-connect-udp-03.

mod relay;
mod run;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use pseudotcp_masque::Target;
use socket2::SockRef;
use tokio::net::UdpSocket;

use crate::client::{Receiver, Sender};
use crate::refusal::Refusal;
use crate::resolve::resolve;
use crate::serve::Shared;
use crate::tunnel::{Ended, Tunnel};

use self::relay::UdpRelay;

/// The kernel's receive buffer of a socket, in bytes.
const ROOM: usize = 1 << 20;

/// A socket that is connected to the first address that this host can send to.
pub(crate) async fn open(shared: &Shared, target: &Target) -> Result<UdpSocket, Refusal> {
    let mut refusal = Refusal::prohibited();
    for address in resolve(shared, target).await? {
        match connected(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => refusal = Refusal::of_connect(&error),
        }
    }
    Err(refusal)
}

/// Carries an open tunnel to its end.
pub(crate) async fn carry(
    tunnel: &Tunnel,
    socket: UdpSocket,
    receiver: Receiver,
    sender: Sender,
) -> Ended {
    UdpRelay::new(tunnel, receiver, sender).run(socket).await
}

async fn connected(target: SocketAddr) -> io::Result<UdpSocket> {
    let any = match target {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    make_room(&socket);
    hear_icmp(&socket, target)?;
    socket.connect(target).await?;
    Ok(socket)
}

/// The kernel's room for what the target sends while this process does not run: 1 MiB, or as much as
/// the system allows. What is not used costs nothing.
fn make_room(socket: &UdpSocket) {
    // Neither is needed for the tunnel to work; the first wants CAP_NET_ADMIN.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::RcvBufForce, &ROOM).is_ok() {
        return;
    }
    let _ = SockRef::from(socket).set_recv_buffer_size(ROOM);
}

/// Without this Linux tells a connected socket of a closed port, but not of an unreachable host.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn hear_icmp(socket: &UdpSocket, target: SocketAddr) -> io::Result<()> {
    use nix::sys::socket::setsockopt;
    use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
    match target {
        SocketAddr::V4(_) => setsockopt(socket, Ipv4RecvErr, &true)?,
        SocketAddr::V6(_) => setsockopt(socket, Ipv6RecvErr, &true)?,
    }
    Ok(())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn hear_icmp(_socket: &UdpSocket, _target: SocketAddr) -> io::Result<()> {
    Ok(())
}
