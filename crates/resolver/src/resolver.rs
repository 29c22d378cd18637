use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use pseudotcp_dns::proto::rr::Name;
use pseudotcp_dns::{ExtendedError, UpstreamQuery};
use pseudotcp_masque::Transport;

use crate::chain::Chain;
use crate::error::{ConfigError, ExchangeError};
use crate::server::Server;
use crate::{tls, upstream};

/// Which servers are asked, and whom they are trusted by.
#[derive(Clone, Debug, Default)]
pub struct Config {
    servers: Vec<Server>,
    suffixes: Vec<(String, Vec<Server>)>,
    extra_ca: Vec<u8>,
}

impl Config {
    /// Asks these servers, in this order. Without any, no name but those below a
    /// [`suffix`](Self::suffix) can be resolved.
    pub fn new(servers: impl IntoIterator<Item = Server>) -> Self {
        Self { servers: servers.into_iter().collect(), ..Self::default() }
    }

    /// Asks these servers, and no others, for the names at and below a domain name; of several such
    /// the longest counts.
    #[must_use]
    pub fn suffix(mut self, suffix: &str, servers: impl IntoIterator<Item = Server>) -> Self {
        self.suffixes.push((suffix.to_owned(), servers.into_iter().collect()));
        self
    }

    /// Trusts the certificate authorities in `pem` beside the platform's.
    #[must_use]
    pub fn extra_ca(mut self, pem: &[u8]) -> Self {
        self.extra_ca.extend_from_slice(pem);
        self.extra_ca.push(b'\n');
        self
    }
}

/// Asks DNS servers. A clone is another handle to the same one.
///
/// Its connections are driven by tasks of the tokio runtime that it is used in.
#[derive(Clone)]
pub struct Resolver {
    /// The longest suffix first; the root, for all names, last.
    zones: Arc<[(Name, Chain)]>,
}

impl Resolver {
    /// A resolver whose questions all go through `transport`.
    pub fn new(config: Config, transport: &Arc<dyn Transport>) -> Result<Self, ConfigError> {
        let tls = tls::client_config(&config.extra_ca)?;
        let chain = |servers: Vec<Server>| {
            let link =
                |server: Server| (server.to_string(), upstream::upstream(server, transport, &tls));
            Chain::new(servers.into_iter().map(link))
        };
        let mut zones = Vec::new();
        for (suffix, servers) in config.suffixes {
            let name = Name::from_utf8(&suffix).map_err(|_| ConfigError::Suffix { suffix })?;
            zones.push((rooted(name), chain(servers)));
        }
        zones.push((Name::root(), chain(config.servers)));
        zones.sort_by_key(|(name, _)| std::cmp::Reverse(name.num_labels()));
        Ok(Self { zones: zones.into() })
    }

    /// The answer of the first server that has one; a failure that a server told where none has.
    pub async fn resolve(&self, query: UpstreamQuery) -> Result<Bytes, ExtendedError> {
        let chain = self.zones.iter().find(|(suffix, _)| suffix.zone_of(&query.name));
        let Some((_, chain)) = chain else { return Err(ExtendedError::NoReachableResolver) };
        chain.resolve(&query.message).await.map_err(|error| match error {
            ExchangeError::TimedOut => ExtendedError::NetworkError,
            ExchangeError::Http(_) => ExtendedError::InvalidData,
            _ => ExtendedError::NoReachableResolver,
        })
    }
}

/// A suffix as names of questions end.
fn rooted(mut name: Name) -> Name {
    name.set_fqdn(true);
    name.to_lowercase()
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffixes: Vec<_> = self.zones.iter().map(|(suffix, _)| suffix.to_string()).collect();
        f.debug_struct("Resolver").field("suffixes", &suffixes).finish_non_exhaustive()
    }
}
