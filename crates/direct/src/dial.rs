use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use pseudotcp_masque::{OpenError, OpenRequest, Target};
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream, UdpSocket, lookup_host};
use tokio::time::{Instant, timeout_at};

use crate::cause;
use crate::config::Config;

/// Resolves the target and opens the first of its addresses that `open` can, by the deadline.
pub(crate) async fn within_deadline<'c, S, F>(
    config: &'c Config,
    request: &OpenRequest,
    open: impl Fn(&'c Config, SocketAddr) -> F,
) -> Result<S, OpenError>
where
    F: Future<Output = io::Result<S>>,
{
    let limit = Instant::now() + config.open_limit();
    let deadline = request.deadline.map_or(limit, |deadline| limit.min(deadline.into()));
    let addresses = timeout_at(deadline, resolve(&request.target));
    let addresses = addresses.await.unwrap_or(Err(OpenError::TimedOut(None)))?;
    let mut cause = OpenError::Unresolved(None);
    for (address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        // Every address gets its share of the time, so that a silent one does not hide the next.
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / left;
        let failure = match timeout_at(now + share, open(config, *address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => cause::of_open(error, *address),
            Err(_) => OpenError::TimedOut(None),
        };
        cause = weightier(cause, failure);
    }
    Err(cause)
}

/// Opens a TCP connection.
pub(crate) async fn tcp(config: &Config, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    config.prepare(&SockRef::from(&socket))?;
    // The stack sends whole chunks; nothing is won by waiting for more.
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

/// Opens a UDP socket that exchanges datagrams with `address` only.
pub(crate) async fn udp(config: &Config, address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    config.prepare(&SockRef::from(&socket))?;
    socket.connect(address).await?;
    Ok(socket)
}

async fn resolve(target: &Target) -> Result<Vec<SocketAddr>, OpenError> {
    match target {
        Target::Address(address) => Ok(vec![*address]),
        Target::Host { name, port } => match lookup_host((&**name, *port)).await {
            Ok(addresses) => Ok(addresses.collect()),
            Err(_) => Err(OpenError::Unresolved(None)),
        },
    }
}

/// Of the causes that a name's addresses failed for, the one to tell: what the target said before
/// what this machine lacks.
fn weightier(known: OpenError, new: OpenError) -> OpenError {
    match (&known, &new) {
        (OpenError::Unresolved(_) | OpenError::NoIpv6(_), _) => new,
        (OpenError::Refused(_), _) | (_, OpenError::NoIpv6(_)) => known,
        _ => new,
    }
}
