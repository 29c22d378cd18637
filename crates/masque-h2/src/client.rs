use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use pseudotcp_masque::{ByteTunnel, DatagramTunnel, OpenError, OpenRequest, Transport};
use tokio::sync::watch;

use crate::pool::Pool;
use crate::request::{open_tcp, open_udp};
use crate::state::{State, Stats};
use crate::{Config, ConfigError};

/// A MASQUE client: opens TCP and UDP flows through one proxy. Clones share its connections, which
/// close when the last clone and the last flow are gone.
///
/// Flows must be opened within a tokio runtime; the connections live on the one that wanted them.
#[derive(Clone)]
pub struct Client {
    pool: Arc<Pool>,
}

impl Client {
    /// A client that dials at its first flow, or at [`ready`](Self::ready).
    ///
    /// # Errors
    /// [`ConfigError::Tls`] where TLS cannot be set up.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self { pool: Pool::new(config)? })
    }

    /// Waits until flows can be opened, dialling if need be.
    ///
    /// # Errors
    /// [`OpenError::ProxyGone`] where that is not so by `deadline`, and
    /// [`OpenError::Protocol`] or [`OpenError::ProxyGone`] at once where the proxy is there and is
    /// not what it should be (no HTTP/2, the wrong certificate). The source tells more.
    pub async fn ready(&self, deadline: Instant) -> Result<(), OpenError> {
        self.pool.ready(deadline.into()).await
    }

    /// As [`ready`](Self::ready), but the first dial that fails is not waited out.
    pub(crate) async fn reachable(&self, deadline: tokio::time::Instant) -> Result<(), OpenError> {
        self.pool.reachable(deadline).await
    }

    /// Waits until the proxy turns out to be away: no connection is left, and dialling has failed.
    pub(crate) async fn gone(&self) -> OpenError {
        self.pool.gone().await
    }

    /// How the client stands to its proxy, to be watched.
    pub fn state(&self) -> watch::Receiver<State> {
        self.pool.state.subscribe()
    }

    /// To be called when the machine's network has changed: every connection is probed at once, and
    /// another one dialled beside them. Flows of those that answer go on; the flows of those that do
    /// not hear of it within the answer limit of [`Config::liveness`], instead of after the silence
    /// and the answer limit.
    pub fn network_changed(&self) {
        self.pool.network_changed();
    }

    /// The address of the proxy's end of the newest connection; `None` before the first, and behind
    /// a hop.
    pub fn proxy_address(&self) -> Option<SocketAddr> {
        self.pool.address()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.pool.stats()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("config", self.pool.config())
            .field("state", &*self.pool.state.borrow())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Transport for Client {
    async fn open_tcp(&self, request: OpenRequest) -> Result<ByteTunnel, OpenError> {
        open_tcp(&self.pool, &request).await
    }

    async fn open_udp(&self, request: OpenRequest) -> Result<DatagramTunnel, OpenError> {
        open_udp(&self.pool, &request).await
    }
}
