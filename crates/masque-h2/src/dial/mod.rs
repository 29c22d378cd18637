//! From the proxy's name to a connection that takes flows.
//!
//! ```text
//!   addresses ──▶ race of sockets ─┐
//!                                  ├──▶ TLS, ALPN ──▶ HTTP/2, SETTINGS
//!   another transport's open_tcp ──┘
//! ```

mod http2;
mod race;
mod resolve;
mod socket;
mod tls;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use pseudotcp_masque::io::TunnelIo;
use pseudotcp_masque::{OpenError, OpenRequest, Target, Transport};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

pub(crate) use self::http2::Connection;

use self::race::race;
use self::resolve::{Resolver, known};
use self::tls::{ALPN_H2, client_config};
use crate::Config;
use crate::connection::{Budget, Ending, Limits, Owner, Windows};
use crate::state::Counters;

/// Any byte stream.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The stream below HTTP, whatever it is made of.
pub(crate) type BoxIo = Box<dyn Io>;

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("the proxy's name does not resolve: {0}")]
    Resolve(#[source] io::Error),
    #[error("the proxy's name has no address")]
    NoAddress,
    #[error("cannot connect to {address}: {source}")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("no way to the proxy through the hop before it: {0}")]
    Hop(#[source] OpenError),
    #[error("no TLS with the proxy: {0}")]
    Tls(#[source] io::Error),
    #[error("the proxy does not offer HTTP/2 (ALPN)")]
    NoHttp2,
    #[error("no HTTP/2 with the proxy: {0}")]
    Http2(#[from] h2::Error),
    #[error("no HTTP/2 with the proxy: {0}")]
    Ended(Arc<Ending>),
    #[error("the proxy did not answer in time ({0})")]
    TimedOut(Stage),
}

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Connect,
    Tls,
    Settings,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Tls => "TLS handshake",
            Self::Settings => "HTTP/2 settings",
        })
    }
}

impl DialError {
    /// Whether trying again at once would be no use: the proxy is there, and is not what it should
    /// be.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::Tls(error) => {
                error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<rustls::Error>)
            }
            Self::NoHttp2 => true,
            Self::Http2(error) => !error.is_io(),
            Self::Ended(ending) => matches!(&**ending, Ending::Failed(error) if !error.is_io()),
            _ => false,
        }
    }

    /// Whether the proxy is there and speaks something else.
    pub(crate) fn is_protocol(&self) -> bool {
        self.is_lasting() && !matches!(self, Self::Tls(_))
    }
}

/// What came of a dial.
pub(crate) enum Dialled {
    /// A connection for many flows.
    Http2(Connection),
    /// A connection for one flow, and the address of its end.
    Http1(BoxIo, Option<SocketAddr>),
}

/// Makes connections as a configuration says.
pub(crate) struct Dialer {
    pub(crate) config: Config,
    tls: TlsConnector,
    resolver: Resolver,
    counters: Arc<Counters>,
    pub(crate) windows: Limits,
    next_id: AtomicU64,
}

impl Dialer {
    pub(crate) fn new(config: Config, counters: Arc<Counters>) -> Result<Self, crate::ConfigError> {
        let tls = TlsConnector::from(client_config(&config)?);
        let (resolver, next_id) = (Resolver::default(), AtomicU64::new(0));
        let windows = Limits {
            stream: config.stream_window,
            connection: config.connection_window,
            budget: Budget::new(config.window_budget, config.max_connections),
        };
        Ok(Self { config, tls, resolver, counters, windows, next_id })
    }

    /// Dials once, for `owner`; with large windows from the start where `large` says so. All stages
    /// together take as long as the configuration allows.
    pub(crate) async fn dial(
        &self,
        large: bool,
        owner: Weak<dyn Owner>,
    ) -> Result<Dialled, DialError> {
        let deadline = Instant::now() + self.config.dial_timeout;
        let (io, address) = by(deadline, Stage::Connect, self.reach()).await?;
        let name = self.config.server_name.clone();
        let handshake = async { self.tls.connect(name, io).await.map_err(DialError::Tls) };
        let tls = by(deadline, Stage::Tls, handshake).await?;
        // RFC 9113 §3.2: both sides must have agreed on it.
        if tls.get_ref().1.alpn_protocol() != Some(ALPN_H2) {
            let fallback = Dialled::Http1(Box::new(tls), address);
            return if self.config.http1 { Ok(fallback) } else { Err(DialError::NoHttp2) };
        }
        let name = (self.next_id.fetch_add(1, Relaxed), address);
        let windows = Windows::new(self.windows.clone(), large);
        let speaking = http2::speak(&self.config, &self.counters, name, tls, windows, owner);
        by(deadline, Stage::Settings, speaking).await.map(Dialled::Http2)
    }

    /// A byte stream to the proxy, and the address of its end where that is known.
    async fn reach(&self) -> Result<(BoxIo, Option<SocketAddr>), DialError> {
        match &self.config.through {
            Some(hop) => Ok((self.reach_through(&**hop).await?, None)),
            None => self.reach_directly().await,
        }
    }

    async fn reach_through(&self, hop: &dyn Transport) -> Result<BoxIo, DialError> {
        let target = Target::host(&self.config.host, self.config.port);
        let deadline = Instant::now() + self.config.dial_timeout;
        let request = OpenRequest::new(target).with_deadline(deadline.into_std());
        let tunnel = hop.open_tcp(request).await.map_err(DialError::Hop)?;
        Ok(Box::new(TunnelIo::new(tunnel)))
    }

    async fn reach_directly(&self) -> Result<(BoxIo, Option<SocketAddr>), DialError> {
        let known = known(&self.config);
        let half = Instant::now() + self.config.dial_timeout / 2;
        let failure = match timeout_at(half, self.connect_any(&known)).await {
            Ok(Some(Ok(connected))) => return Ok(connected),
            Ok(failure) => failure,
            Err(_) => Some(Err(DialError::TimedOut(Stage::Connect))),
        };
        if !known.is_empty() && !self.resolver.may_look_up(&self.config) {
            return failure.unwrap_or(Err(DialError::NoAddress));
        }
        let mut found = match self.resolver.look_up(&self.config).await {
            Ok(found) => found,
            Err(error) => return failure.unwrap_or(Err(DialError::Resolve(error))),
        };
        found.retain(|address| !known.contains(address));
        self.connect_any(&found).await.or(failure).unwrap_or(Err(DialError::NoAddress))
    }

    async fn connect_any(
        &self,
        addresses: &[SocketAddr],
    ) -> Option<Result<(BoxIo, Option<SocketAddr>), DialError>> {
        race(addresses, async |address| {
            if let Some(prepare) = &self.config.before_dial {
                prepare(address.ip()).await;
            }
            match socket::connect(&self.config, address).await {
                Ok(stream) => Ok((Box::new(stream) as BoxIo, Some(address))),
                Err(source) => Err(DialError::Connect { address, source }),
            }
        })
        .await
    }
}

async fn by<T>(
    deadline: Instant,
    stage: Stage,
    work: impl Future<Output = Result<T, DialError>>,
) -> Result<T, DialError> {
    timeout_at(deadline, work).await.unwrap_or(Err(DialError::TimedOut(stage)))
}
