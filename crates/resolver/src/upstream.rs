use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pseudotcp_masque::{ByteTunnel, OpenRequest, Transport};
use rustls::ClientConfig;
use tokio::time::Instant;

use crate::doh::Doh;
use crate::error::ExchangeError;
use crate::plain::{Dot, Plain};
use crate::server::{Protocol, Server};

/// One server, and what is needed to ask it.
#[async_trait]
pub(crate) trait Upstream: Send + Sync {
    /// Asks; the answer has the id 0, as the question has. Dropping the future gives up.
    async fn exchange(&self, query: &Bytes) -> Result<Bytes, ExchangeError>;
}

/// Where a server is, and the way there.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) server: Server,
    pub(crate) transport: Arc<dyn Transport>,
}

impl Way {
    /// Opens a byte stream to the first of the server's addresses that takes one.
    pub(crate) async fn open(&self, deadline: Instant) -> Result<ByteTunnel, ExchangeError> {
        let mut outcome = Err(ExchangeError::TimedOut);
        for target in self.server.targets() {
            let request = OpenRequest::new(target).with_deadline(deadline.into_std());
            outcome = self.transport.open_tcp(request).await.map_err(ExchangeError::Unreachable);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

/// Makes what asks a server.
pub(crate) fn upstream(
    server: Server,
    transport: &Arc<dyn Transport>,
    tls: &Arc<ClientConfig>,
) -> Box<dyn Upstream> {
    let protocol = server.protocol.clone();
    let way = Way { server, transport: Arc::clone(transport) };
    match protocol {
        Protocol::Https { endpoint, by_get } => Box::new(Doh::new(way, endpoint, by_get, tls)),
        Protocol::Tls => Box::new(Dot::new(way, tls)),
        Protocol::Plain => Box::new(Plain::new(way)),
    }
}
