//! One client connection: TLS, and then the version of HTTP that was negotiated.

mod h1;
mod h2;

use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pseudotcp_masque::Source;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::credit::Lane;
use crate::identity::HTTP_2;
use crate::serve::Shared;

/// What the kernel holds unsent before it says that the socket is full: enough to fill the line,
/// little enough that a new frame does not wait behind much.
const NOT_SENT_LOW_WATER: u32 = 32 * 1024;

/// What all requests of a connection have in common.
struct Client {
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    address: SocketAddr,
}

/// Serves one client to the end of its connection.
pub(crate) async fn run(
    shared: Arc<Shared>,
    acceptor: TlsAcceptor,
    socket: net::TcpStream,
    address: SocketAddr,
    draining: watch::Receiver<bool>,
) -> Result<(), Source> {
    let socket = TcpStream::from_std(socket)?;
    prepare(&socket)?;
    let lane = Lane::new(Arc::clone(&shared.held), &shared.limits);
    let client = Client { shared, lane, address };
    let tls = client.handshake(async { Ok(acceptor.accept(socket).await?) }).await?;
    match tls.get_ref().1.alpn_protocol() {
        Some(HTTP_2) => {
            let connection = client.handshake(h2::handshake(&client.shared, tls)).await?;
            h2::run(client, connection, draining).await
        }
        // RFC 9112 is what a client means that names nothing.
        _ => h1::run(client, tls, draining).await,
    }
}

impl Client {
    /// Waits for a step of the connection's beginning, but not for ever.
    async fn handshake<T>(
        &self,
        step: impl Future<Output = Result<T, Source>>,
    ) -> Result<T, Source> {
        let done = timeout(self.shared.limits.handshake_timeout, step).await;
        let done = done.unwrap_or_else(|elapsed| Err(elapsed.into()));
        done.inspect_err(|_| {
            self.shared.stats.handshakes_failed.inc();
        })
    }
}

/// The client's socket: no delay, little unsent, and dead clients noticed within two minutes.
fn prepare(socket: &TcpStream) -> Result<(), Source> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_mins(1))
        .with_interval(Duration::from_secs(15));
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        socket.set_tcp_notsent_lowat(NOT_SENT_LOW_WATER)?;
        socket.set_tcp_user_timeout(Some(Duration::from_mins(2)))?;
    }
    Ok(())
}
