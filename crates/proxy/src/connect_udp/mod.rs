//! connect-udp (RFC 9298): a UDP tunnel.

mod relay;

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderValue, Response};
use pseudotcp_masque::Target;
use tokio::net::UdpSocket;
use tracing::info;

use crate::data::Data;
use crate::refusal::Refusal;
use crate::resolve::resolve;
use crate::serve::Shared;
use crate::session::Admission;
use crate::stats::OpenTunnel;

use self::relay::UdpRelay;

/// Opens the tunnel, answers the request, and carries the tunnel to its end.
pub(crate) async fn run(
    admission: Admission,
    target: Target,
    receive: RecvStream,
    mut respond: SendResponse<Data>,
) {
    let Admission { shared, lane: _, client, permit: _permit } = admission;
    let opened = tokio::select! {
        opened = open(&shared, &target) => opened,
        // The client gave up, or is gone.
        _ = poll_fn(|cx| respond.poll_reset(cx)) => return,
    };
    let socket = match opened {
        Ok(socket) => socket,
        Err(refusal) => {
            shared.stats.requests_refused.add(1);
            info!(%client, %target, status = %refusal.status(), "connect-udp refused");
            return refusal.send(respond);
        }
    };
    let mut response = Response::new(());
    // RFC 9298 §3.5: the answer says that capsules follow.
    response.headers_mut().insert("capsule-protocol", HeaderValue::from_static("?1"));
    let Ok(send) = respond.send_response(response, false) else { return };
    info!(%client, %target, "connect-udp");
    shared.stats.udp_tunnels.add(1);
    let _open = OpenTunnel(Arc::clone(&shared.stats));
    let end = UdpRelay::new(shared, receive, send).run(socket).await;
    info!(%client, %target, ?end, "tunnel ended");
}

/// A socket that is connected to the first address that this host can send to.
async fn open(shared: &Shared, target: &Target) -> Result<UdpSocket, Refusal> {
    let mut refusal = Refusal::prohibited();
    for address in resolve(shared, target).await? {
        match connected(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => refusal = Refusal::of_connect(&error),
        }
    }
    Err(refusal)
}

async fn connected(target: SocketAddr) -> io::Result<UdpSocket> {
    let any = match target {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    hear_icmp(&socket, target)?;
    socket.connect(target).await?;
    Ok(socket)
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
