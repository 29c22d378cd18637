//! From the proxy's name to a connection that takes flows.

mod tls;

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use h2::client::SendRequest;
use pseudotcp_masque::cork::Corked;
use rustls::ClientConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use self::tls::{ALPN_H2, client_config};
use crate::Config;
use crate::connection::{Driver, Ending, Link, Liveness, Meter, Metered, Owner, Phase};
use crate::state::Counters;

/// How much is written at once at the most, and may wait in user space: 256 KiB.
const CORK: usize = 256 * 1024;

/// How much may wait in the kernel unsent (`TCP_NOTSENT_LOWAT`): what waits there longer than
/// needed delays every flow alike.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NOT_SENT: u32 = 128 * 1024;

/// The bytes of a flow that HTTP/2 takes before they have left: 256 KiB.
const SEND_BUFFER: usize = 256 * 1024;

/// What small DATA frames may cost before HTTP/2 gives up a connection. Its own default ends a
/// connection after a burst of about a hundred; this bounds a hostile proxy to about 80 MB.
const DATA_FRAME_BUDGET: usize = 64 << 20;

/// How many streams that this side has reset are remembered, so that what is still under way for
/// them is no error.
const RESET_STREAMS: usize = 1024;

/// The most bytes of a response's header fields.
const HEADER_LIST: u32 = 64 * 1024;

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("the proxy's name does not resolve: {0}")]
    Resolve(#[source] io::Error),
    #[error("the proxy's name has no address")]
    NoAddress,
    #[error("cannot connect to {address}: {source}")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("no TLS with the proxy: {0}")]
    Tls(#[source] io::Error),
    #[error("the proxy does not offer HTTP/2 (ALPN)")]
    NoHttp2,
    #[error("no HTTP/2 with the proxy: {0}")]
    Http2(#[from] h2::Error),
    #[error("no HTTP/2 with the proxy: {0}")]
    Ended(Arc<Ending>),
    #[error("the proxy did not answer in time")]
    TimedOut,
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

/// A connection that takes flows. Dropped, it closes with its last flow.
pub(crate) struct Dialled {
    pub(crate) link: Arc<Link>,
    pub(crate) send: SendRequest<Bytes>,
}

impl Drop for Dialled {
    fn drop(&mut self) {
        self.link.release();
    }
}

/// Makes connections as a configuration says.
pub(crate) struct Dialer {
    pub(crate) config: Config,
    tls: TlsConnector,
    counters: Arc<Counters>,
    next_id: AtomicU64,
}

impl Dialer {
    pub(crate) fn new(config: Config, counters: Arc<Counters>) -> Result<Self, crate::ConfigError> {
        let tls: Arc<ClientConfig> = client_config(&config.trust)?;
        let tls = TlsConnector::from(tls);
        Ok(Self { config, tls, counters, next_id: AtomicU64::new(0) })
    }

    /// Dials once, for `owner`.
    pub(crate) async fn dial(&self, owner: Weak<dyn Owner>) -> Result<Dialled, DialError> {
        let deadline = Instant::now() + self.config.dial_timeout;
        timeout_at(deadline, self.connect(deadline, owner))
            .await
            .unwrap_or(Err(DialError::TimedOut))
    }

    async fn connect(
        &self,
        deadline: Instant,
        owner: Weak<dyn Owner>,
    ) -> Result<Dialled, DialError> {
        let (tcp, address) = self.connect_any(deadline).await?;
        let name = self.config.server_name.clone();
        let tls = self.tls.connect(name, tcp).await.map_err(DialError::Tls)?;
        // RFC 9113 §3.2: both sides must have agreed on it.
        if tls.get_ref().1.alpn_protocol() != Some(ALPN_H2) {
            return Err(DialError::NoHttp2);
        }
        self.speak_http2(address, tls, owner).await
    }

    /// Tries one address after the other, each with its share of the time that is left.
    async fn connect_any(&self, deadline: Instant) -> Result<(TcpStream, SocketAddr), DialError> {
        let addresses = self.resolve().await?;
        let mut last = DialError::NoAddress;
        for (tried, &address) in addresses.iter().enumerate() {
            let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            let now = Instant::now();
            let share = deadline.saturating_duration_since(now) / left;
            last = match timeout_at(now + share, self.connect_one(address)).await {
                Ok(Ok(stream)) => return Ok((stream, address)),
                Ok(Err(source)) => DialError::Connect { address, source },
                Err(_) => DialError::TimedOut,
            };
        }
        Err(last)
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, DialError> {
        let (host, port) = (self.config.host.as_str(), self.config.port);
        if !self.config.addresses.is_empty() {
            let known = self.config.addresses.iter();
            return Ok(known.map(|ip| SocketAddr::new(*ip, port)).collect());
        }
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        lookup_host((host, port)).await.map(Iterator::collect).map_err(DialError::Resolve)
    }

    async fn connect_one(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.socket(address)?;
        TcpSocket::from_std_stream(socket.into()).connect(address).await
    }

    /// A socket with its options, shown to the hook before it connects.
    fn socket(&self, address: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            socket.set_tcp_notsent_lowat(NOT_SENT)?;
            self.config.mark.map_or(Ok(()), |mark| socket.set_mark(mark))?;
        }
        if let Some(bytes) = self.config.socket_buffer {
            socket.set_recv_buffer_size(bytes)?;
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(protect) = &self.config.protect {
            protect(std::os::fd::AsFd::as_fd(&socket))?;
        }
        Ok(socket)
    }

    /// Starts the driver and waits for the proxy's SETTINGS, which tell how many flows it takes.
    async fn speak_http2(
        &self,
        address: SocketAddr,
        tls: TlsStream<TcpStream>,
        owner: Weak<dyn Owner>,
    ) -> Result<Dialled, DialError> {
        let meter = Meter::new(Arc::clone(&self.counters));
        let (wire, cork) = Corked::new(Metered::new(tls, Arc::clone(&meter)), CORK);
        let (send, mut connection) = self.builder().handshake(wire).await?;
        let liveness =
            Liveness::new(self.config.ping_after, self.config.ping_timeout, connection.ping_pong());
        let id = self.next_id.fetch_add(1, Relaxed);
        let link = Link::new(id, address, owner);
        let unfinished = Unfinished(Some(Arc::clone(&link)));
        let driver = Driver::new(connection, cork, send.clone(), meter, liveness, link.clone());
        tokio::spawn(driver);
        let mut phase = link.watch_phase();
        let agreed = phase.wait_for(|phase| *phase != Phase::Starting).await;
        if agreed.is_ok_and(|phase| *phase == Phase::Open) {
            unfinished.succeed();
            return Ok(Dialled { link, send });
        }
        Err(DialError::Ended(link.ending()))
    }

    fn builder(&self) -> h2::client::Builder {
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_max_send_streams(0)
            .initial_window_size(self.config.stream_window)
            .initial_connection_window_size(self.config.connection_window)
            .max_send_buffer_size(SEND_BUFFER)
            .data_frame_budget(DATA_FRAME_BUDGET)
            .max_header_list_size(HEADER_LIST)
            .max_concurrent_reset_streams(RESET_STREAMS)
            .max_local_error_reset_streams(None);
        builder
    }
}

/// Gives a connection up that nobody waited for to the end.
struct Unfinished(Option<Arc<Link>>);

impl Unfinished {
    fn succeed(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(link) = &self.0 {
            link.condemn();
        }
    }
}
