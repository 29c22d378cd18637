use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pseudotcp_masque::{ByteTunnel, OpenRequest, Transport};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};

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
    /// Opens a byte stream to the first of the server's addresses that takes one. Each may use an
    /// equal part of the time that is left.
    pub(crate) async fn open(&self, deadline: Instant) -> Result<ByteTunnel, ExchangeError> {
        let mut outcome = Err(ExchangeError::TimedOut);
        let targets = self.server.targets();
        let mut untried = u32::try_from(targets.len()).unwrap_or(u32::MAX);
        for target in targets {
            let now = Instant::now();
            let limit = now + deadline.saturating_duration_since(now) / untried;
            untried -= 1;
            let request = OpenRequest::new(target).with_deadline(limit.into_std());
            let open = timeout_at(limit, self.transport.open_tcp(request)).await;
            outcome = match open {
                Ok(open) => open.map_err(ExchangeError::Unreachable),
                Err(_) => Err(ExchangeError::TimedOut),
            };
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pseudotcp_masque::OpenError;
    use pseudotcp_masque_mock::{Mock, Script};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_that_says_nothing_leaves_time_for_the_next() {
        let first = "192.0.2.1:853".parse::<std::net::SocketAddr>().unwrap();
        for (script, taken) in [
            (Script::silent(), 1_500),
            (Script::fail(|| OpenError::Refused(None)), 0),
            (Script::echo().with_latency(Duration::from_secs(1)), 1_000),
        ] {
            let transport = Arc::new(Mock::new(Script::echo()).with(first, script));
            let server = "tls://dns.example@192.0.2.1,2001:db8::1".parse().unwrap();
            let (way, start) = (Way { server, transport }, Instant::now());
            assert!(way.open(start + Duration::from_secs(3)).await.is_ok());
            assert_eq!(start.elapsed().as_millis(), taken);
        }
    }
}
