//! Reaching a TCP target: its addresses in turn, the next one a little after the last
//! (RFC 8305 §5, "Happy Eyeballs").

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::refusal::Refusal;

/// RFC 8305 §5: how long one attempt is alone before the next begins.
const STAGGER: Duration = Duration::from_millis(250);

/// Connects to the first address that answers.
pub(crate) async fn dial(
    addresses: Vec<SocketAddr>,
    limit: Duration,
) -> Result<TcpStream, Refusal> {
    match timeout(limit, race(interleave(addresses))).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(error)) => Err(Refusal::of_connect(&error)),
        Err(_) => Err(Refusal::connect_timeout()),
    }
}

async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        attempts.extend(waiting.next().map(TcpStream::connect));
        tokio::select! {
            result = attempts.next() => match result {
                Some(Ok(socket)) => return Ok(socket),
                Some(Err(error)) => failure = worse(failure, error),
                None => return Err(failure),
            },
            () = sleep(STAGGER), if !waiting.as_slice().is_empty() => {}
        }
    }
}

/// The failure that tells more: an address that the proxy cannot use says nothing of the target.
fn worse(one: io::Error, other: io::Error) -> io::Error {
    let unusable =
        matches!(other.kind(), io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable);
    if unusable && one.raw_os_error().is_some() { one } else { other }
}

/// RFC 8305 §4: the families alternate, beginning with the one that the resolver preferred.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut other = other.into_iter();
    let mut ordered: Vec<_> =
        one.into_iter().flat_map(|a| [Some(a), other.next()]).flatten().collect();
    ordered.extend(other);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_alternate() {
        let given = addresses(&["[::1]:1", "[::2]:1", "1.1.1.1:1", "1.1.1.2:1", "1.1.1.3:1"]);
        let wanted = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "1.1.1.3:1"]);
        assert_eq!(interleave(given), wanted);
    }

    #[test]
    fn the_targets_own_answer_is_reported() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let os_refused = || io::Error::from_raw_os_error(nix::errno::Errno::ECONNREFUSED as i32);
        let no_route = || io::Error::from_raw_os_error(nix::errno::Errno::ENETUNREACH as i32);
        assert_eq!(worse(no_route(), refused()).kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(worse(os_refused(), no_route()).kind(), io::ErrorKind::ConnectionRefused);
        let unset = io::Error::from(io::ErrorKind::AddrNotAvailable);
        assert_eq!(worse(unset, no_route()).kind(), io::ErrorKind::NetworkUnreachable);
    }

    #[tokio::test]
    async fn a_dead_address_does_not_hide_a_living_one() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dead =
            tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let living = listener.local_addr().unwrap();
        let socket = dial(vec![dead, living], Duration::from_secs(5)).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), living);
    }
}
