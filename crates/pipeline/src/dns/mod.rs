//! DNS as a stage among the transports: questions to port 53 are answered here.
//!
//! ```text
//!  open_udp, open_tcp                        ┌────────────┐
//!   to port 53 ────▶ in-process tunnel ◀───▶ │ Interceptor│ ◀──▶ Service ──▶ resolve(question)
//!    (or left alone, or redirected)          └────────────┘
//!   to a fake address ─▶ its name, through the transport behind
//!   to all else ───────▶ the transport behind
//! ```
//!
//! A tunnel that speaks DNS asks the interceptor in the call that takes the question: an answer from
//! the cache is there at once. What must be asked further waits for the [`Service`], a future that
//! is run beside the data path.

mod datagrams;
mod desk;
mod leased;
mod service;
mod stream;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use pseudotcp_dns::fake::{FakePool, Lease};
use pseudotcp_dns::{Carrier, ExtendedError, Stats, UpstreamQuery};
use pseudotcp_masque::{ByteTunnel, DatagramTunnel, OpenError, OpenRequest, Target, Transport};
use pseudotcp_policy::IpNet;
use tracing::{Level, debug, enabled};

pub use self::service::Service;

use self::datagrams::DatagramClient;
use self::desk::Desk;
use self::leased::Leased;
use self::stream::StreamClient;
use crate::clock;

/// RFC 1035 §4.2: where servers listen.
const PORT: u16 = 53;

/// The outcome of asking resolvers: a DNS message with the id of the question, or why there is none.
pub type Resolved = Result<Bytes, ExtendedError>;

/// The settings of a [`Dns`] stage.
#[derive(Clone, Debug, Default)]
pub struct Config {
    interceptor: pseudotcp_dns::Config,
    exceptions: Vec<(IpNet, Interception)>,
    ipv6: Ipv6Answers,
}

/// What becomes of questions to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interception {
    /// They are answered here.
    Answer,
    /// Nothing: they go through the transport behind like any other flow.
    LeaveAlone,
    /// They go through the transport behind to this server instead, as they are.
    Redirect(SocketAddr),
}

/// Whether apps are told IPv6 addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ipv6Answers {
    /// While the proxy has not said that it has no IPv6.
    #[default]
    Auto,
    /// Always.
    Keep,
    /// Never: questions for them are answered with no data.
    Filter,
}

impl Config {
    /// Sets what the interceptor does: cache, limits, timeouts.
    #[must_use]
    pub fn interceptor(mut self, config: pseudotcp_dns::Config) -> Self {
        self.interceptor = config;
        self
    }

    /// Sets whether apps are told IPv6 addresses. Default: automatically.
    #[must_use]
    pub fn ipv6(mut self, answers: Ipv6Answers) -> Self {
        self.ipv6 = answers;
        self
    }

    /// Sets what becomes of questions to servers in a network; of several that a server is in the one
    /// set first counts. Default: whatever server is meant, questions are answered here.
    #[must_use]
    pub fn servers(mut self, network: IpNet, interception: Interception) -> Self {
        self.exceptions.push((network, interception));
        self
    }
}

/// A transport that answers DNS, over UDP and TCP, whatever server was meant; all other flows go
/// through the transport behind it. A clone is another handle to the same stage.
#[derive(Clone)]
pub struct Dns {
    desk: Arc<Desk>,
    exceptions: Arc<[(IpNet, Interception)]>,
    ipv6: Ipv6Answers,
    inner: Arc<dyn Transport>,
}

impl Dns {
    /// A stage in front of `inner`, and the future that asks `resolve` what the cache does not know.
    pub fn new(
        config: Config,
        inner: Arc<dyn Transport>,
        resolve: impl Fn(UpstreamQuery) -> BoxFuture<'static, Resolved> + Send + 'static,
    ) -> (Self, Service) {
        let Config { interceptor, exceptions, ipv6 } = config;
        let desk = Arc::new(Desk::new(interceptor, ipv6 != Ipv6Answers::Filter));
        let service = Service::new(Arc::clone(&desk), Box::new(resolve));
        (Self { desk, exceptions: exceptions.into(), ipv6, inner }, service)
    }

    /// The same stage in front of another transport: with the same memory, names and counters.
    #[must_use]
    pub fn before(&self, inner: Arc<dyn Transport>) -> Self {
        Self { inner, ..self.clone() }
    }

    /// The counters so far.
    pub fn stats(&self) -> Stats {
        self.desk.stats()
    }

    /// The name by which apps came by an address, where one of the answers so far led to it.
    pub fn name_of(&self, address: IpAddr) -> Option<Arc<str>> {
        self.desk.name_of(address)
    }

    /// The fake addresses and their names as text, for [`restore`](Self::restore).
    pub fn fake_names(&self) -> String {
        self.desk.with_fake(|pool| pool.to_string()).unwrap_or_default()
    }

    /// Gives names the fake addresses that they had in an earlier life.
    pub fn restore(&self, fake_names: &str) {
        self.desk.with_fake(|pool| pool.restore(clock::now(), fake_names));
    }

    /// Where a flow really goes.
    fn way(&self, target: &Target) -> Result<Way, OpenError> {
        let Target::Address(address) = target else { return Ok(Way::Through) };
        if address.port() == PORT {
            return Ok(self.way_of_questions(address.ip()));
        }
        if self.desk.with_fake(|_| ()).is_none() || !FakePool::contains(address.ip()) {
            return Ok(Way::Through);
        }
        match self.desk.lease(address.ip()) {
            Some((name, lease)) => Ok(Way::ToName(Target::host(&name, address.port()), lease)),
            // The app has an address from an earlier life of ours; it will ask again.
            None => Err(OpenError::Unresolved(None)),
        }
    }

    fn way_of_questions(&self, server: IpAddr) -> Way {
        let exception = self.exceptions.iter().find(|(network, _)| network.contains(&server));
        match exception.map(|(_, interception)| *interception) {
            None | Some(Interception::Answer) => Way::Here,
            Some(Interception::LeaveAlone) => Way::Through,
            Some(Interception::Redirect(server)) => Way::ToServer(server),
        }
    }

    /// Logs the name by which the app means an address.
    fn log(&self, target: &Target) {
        if enabled!(Level::DEBUG)
            && let Target::Address(address) = target
            && let Some(name) = self.name_of(address.ip())
        {
            debug!(%address, %name, "opening");
        }
    }

    /// Takes note of what an open tells about IPv6.
    fn learn<T>(&self, is_ipv6: bool, outcome: &Result<T, OpenError>) {
        match outcome {
            Err(OpenError::NoIpv6(_)) if self.ipv6 == Ipv6Answers::Auto => {
                self.desk.without_ipv6(clock::now());
            }
            Ok(_) if is_ipv6 && self.ipv6 == Ipv6Answers::Auto => self.desk.with_ipv6(),
            _ => {}
        }
    }
}

/// What becomes of a flow.
enum Way {
    /// It is a client of the DNS stage.
    Here,
    /// It goes to another DNS server.
    ToServer(SocketAddr),
    /// It goes to the name behind a fake address.
    ToName(Target, Lease),
    /// It goes on as it is.
    Through,
}

#[async_trait]
impl Transport for Dns {
    async fn open_tcp(&self, mut request: OpenRequest) -> Result<ByteTunnel, OpenError> {
        self.log(&request.target);
        match self.way(&request.target)? {
            Way::Here => {
                let client = self.desk.enter(source(&request), Carrier::Stream);
                Ok(Box::new(StreamClient::new(client)))
            }
            Way::ToServer(server) => {
                request.target = server.into();
                self.inner.open_tcp(request).await
            }
            Way::ToName(target, lease) => {
                request.target = target;
                let tunnel = self.inner.open_tcp(request).await?;
                Ok(Box::new(Leased::new(tunnel, lease)))
            }
            Way::Through => {
                let is_ipv6 = request.target.is_ipv6();
                let outcome = self.inner.open_tcp(request).await;
                self.learn(is_ipv6, &outcome);
                outcome
            }
        }
    }

    async fn open_udp(&self, mut request: OpenRequest) -> Result<DatagramTunnel, OpenError> {
        self.log(&request.target);
        match self.way(&request.target)? {
            Way::Here => {
                let client = self.desk.enter(source(&request), Carrier::Datagram);
                Ok(Box::new(DatagramClient::new(client)))
            }
            Way::ToServer(server) => {
                request.target = server.into();
                self.inner.open_udp(request).await
            }
            Way::ToName(target, lease) => {
                request.target = target;
                let tunnel = self.inner.open_udp(request).await?;
                Ok(Box::new(Leased::new(tunnel, lease)))
            }
            Way::Through => {
                let is_ipv6 = request.target.is_ipv6();
                let outcome = self.inner.open_udp(request).await;
                self.learn(is_ipv6, &outcome);
                outcome
            }
        }
    }
}

/// The app's address; flows that came from no packet share one.
fn source(request: &OpenRequest) -> IpAddr {
    request.source.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |source| source.ip())
}
