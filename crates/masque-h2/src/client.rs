use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use pseudotcp_masque::{ByteTunnel, DatagramTunnel, OpenError, OpenRequest, Transport};
use tokio::sync::watch;

use crate::state::{State, Stats};
use crate::{Config, ConfigError};

/// A MASQUE client: opens TCP and UDP flows through one proxy. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    state: Arc<watch::Sender<State>>,
}

impl Client {
    /// A client that dials at its first flow, or at [`ready`](Self::ready).
    pub fn new(_config: Config) -> Result<Self, ConfigError> {
        Ok(Self { state: Arc::new(watch::Sender::new(State::Idle)) })
    }

    /// Waits until flows can be opened.
    pub async fn ready(&self, _deadline: Instant) -> Result<(), OpenError> {
        Err(OpenError::ProxyGone(None))
    }

    /// How the client stands to its proxy, to be watched.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The address of the proxy's end of the newest connection.
    pub fn proxy_address(&self) -> Option<SocketAddr> {
        None
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}

#[async_trait]
impl Transport for Client {
    async fn open_tcp(&self, _request: OpenRequest) -> Result<ByteTunnel, OpenError> {
        Err(OpenError::ProxyGone(None))
    }

    async fn open_udp(&self, _request: OpenRequest) -> Result<DatagramTunnel, OpenError> {
        Err(OpenError::ProxyGone(None))
    }
}
