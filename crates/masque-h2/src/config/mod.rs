mod choices;
mod limits;
mod trust;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::Uri;
use pseudotcp_masque::template::{Template, TemplateError};
use pseudotcp_masque::{Source, Target, Transport};
use rustls::pki_types::ServerName;

pub use self::choices::{HalfClose, TcpDialect, UdpDialect};
pub(crate) use self::trust::{ClientIdentity, Pin, Trust};

use self::trust::{read_certificate, read_certificates};
use crate::auth::{Auth, Credentials, Headers};

/// Called with every socket before it connects (Android's `VpnService.protect`, for instance).
pub type Protect = Arc<dyn Fn(BorrowedFd<'_>) -> io::Result<()> + Send + Sync>;

/// Awaited before an address is dialled.
pub(crate) type BeforeDial = Arc<dyn Fn(IpAddr) -> BoxFuture<'static, ()> + Send + Sync>;

/// Which targets want connections with few flows.
pub(crate) type LowLatency = Arc<dyn Fn(&Target) -> bool + Send + Sync>;

/// What is wrong with a configuration. No message repeats a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The proxy's address is not `https://HOST[:PORT]`.
    #[error("the proxy's address must read https://HOST[:PORT]")]
    Proxy,
    /// A server name is neither a DNS name nor an address.
    #[error("not a server name")]
    ServerName,
    /// A header's name is malformed, or reserved by HTTP itself.
    #[error("a header's name is malformed or reserved")]
    HeaderName,
    /// A header's value holds bytes that a header must not hold, such as a line break.
    #[error("the value of header {name} holds forbidden bytes")]
    HeaderValue {
        /// The header's name.
        name: String,
    },
    /// A user name with a colon cannot be told from its password (RFC 7617 §2).
    #[error("a user name must not hold a colon")]
    User,
    /// A certificate cannot be read.
    #[error("no certificate can be read")]
    Certificate(#[source] Option<Source>),
    /// A private key cannot be read.
    #[error("no private key can be read")]
    Key,
    /// A pin of a public key is not the SHA-256 of one, in base64 or in hexadecimal digits.
    #[error("a pin must be a SHA-256 in base64 or hexadecimal")]
    Pin,
    /// The template of connect-udp breaks the rules of RFC 9298 §2.
    #[error("not a template for connect-udp: {0}")]
    Template(#[from] TemplateError),
    /// TLS cannot be set up, for instance because the platform has no root certificates.
    #[error("TLS cannot be set up")]
    Tls(#[source] Source),
}

/// Where the proxy is, how to trust it, what to tell it, and how long to wait for it.
///
/// `Debug` prints no secret.
#[derive(Clone)]
pub struct Config {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) server_name: ServerName<'static>,
    pub(crate) trust: Trust,
    pub(crate) client_identity: Option<ClientIdentity>,
    pub(crate) log_keys: bool,
    pub(crate) headers: Headers,
    pub(crate) credentials: Option<Arc<dyn Credentials>>,
    pub(crate) tcp_dialect: TcpDialect,
    pub(crate) tcp_template: Template,
    pub(crate) udp_dialect: UdpDialect,
    pub(crate) udp_template: Template,
    pub(crate) early_datagrams: bool,
    pub(crate) half_close: HalfClose,
    pub(crate) http1: bool,
    pub(crate) before_dial: Option<BeforeDial>,
    pub(crate) protect: Option<Protect>,
    pub(crate) mark: Option<u32>,
    pub(crate) device: Option<String>,
    pub(crate) congestion_control: Option<String>,
    pub(crate) through: Option<Arc<dyn Transport>>,
    pub(crate) low_latency: Option<LowLatency>,
    pub(crate) socket_buffer: Option<usize>,
    pub(crate) dial_timeout: Duration,
    pub(crate) open_timeout: Duration,
    pub(crate) ping_after: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) stream_window: u32,
    pub(crate) connection_window: u32,
    pub(crate) window_budget: u64,
    pub(crate) max_connections: usize,
    pub(crate) flows_per_connection: usize,
}

impl Config {
    /// A client of the proxy at `https://HOST[:PORT]` (443 by default): trusted by the platform's
    /// roots, without credentials.
    pub fn new(proxy: &str) -> Result<Self, ConfigError> {
        let (host, port) = parse_proxy(proxy).ok_or(ConfigError::Proxy)?;
        Ok(Self {
            server_name: parse_server_name(&host)?,
            credentials: None,
            tcp_dialect: TcpDialect::default(),
            tcp_template: Template::well_known_tcp(&authority(&host, port))?,
            udp_dialect: UdpDialect::default(),
            udp_template: Template::well_known(&authority(&host, port))?,
            early_datagrams: false,
            half_close: HalfClose::default(),
            http1: true,
            host,
            port,
            addresses: Vec::new(),
            trust: Trust::Roots(Vec::new()),
            client_identity: None,
            log_keys: false,
            headers: Headers::default(),
            before_dial: None,
            protect: None,
            mark: None,
            device: None,
            congestion_control: None,
            through: None,
            low_latency: None,
            socket_buffer: None,
            dial_timeout: Duration::from_secs(10),
            open_timeout: Duration::from_secs(30),
            ping_after: Duration::from_secs(3),
            ping_timeout: Duration::from_secs(2),
            stream_window: 24 << 20,
            connection_window: 128 << 20,
            window_budget: 256 << 20,
            max_connections: 256,
            flows_per_connection: 1_000,
        })
    }

    /// Dials these addresses before the host's name is looked up, and looks it up only when none of
    /// them answers: for callers whose own look-ups may not work while the proxy is away.
    /// Default: none.
    #[must_use]
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.addresses = addresses.into_iter().collect();
        self
    }

    /// The name that the certificate must bear and that TLS asks for, where it is not the host.
    pub fn server_name(mut self, name: &str) -> Result<Self, ConfigError> {
        self.server_name = parse_server_name(name)?;
        Ok(self)
    }

    /// Trusts these certificate authorities (PEM) beside the platform's.
    ///
    /// Replaces an earlier [`pin`](Self::pin) or [`insecure`](Self::insecure).
    pub fn extra_ca(mut self, pem: &[u8]) -> Result<Self, ConfigError> {
        self.trust.add_roots(read_certificates(pem)?);
        Ok(self)
    }

    /// Trusts exactly this certificate, instead of any authority, or beside other pins. What begins
    /// with `-----BEGIN` is read as PEM, anything else as DER.
    ///
    /// The proxy's own certificate, the first of its chain, must equal this one byte by byte, and
    /// the proxy must prove that it holds the key. Its name and dates do not matter.
    pub fn pin(mut self, certificate: &[u8]) -> Result<Self, ConfigError> {
        self.trust.add_pin(Pin::Certificate(read_certificate(certificate)?));
        Ok(self)
    }

    /// Trusts whoever holds the key whose `SubjectPublicKeyInfo` has this SHA-256, instead of any
    /// authority, or beside other pins: a certificate may be renewed with the same key.
    ///
    /// In base64, also with `sha256/` before it as in RFC 7469, or as 64 hexadecimal digits.
    pub fn pin_key(mut self, sha256: &str) -> Result<Self, ConfigError> {
        self.trust.add_pin(Pin::Key(parse_hash(sha256).ok_or(ConfigError::Pin)?));
        Ok(self)
    }

    /// Shows the proxy this certificate (a chain in PEM) where it asks for one, and proves it by the
    /// key (PEM).
    pub fn client_certificate(mut self, chain: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        self.client_identity = Some(ClientIdentity::read(chain, key)?);
        Ok(self)
    }

    /// Writes the secrets of TLS to the file that `SSLKEYLOGFILE` in the environment names, so that
    /// a capture can be read. For debugging: whoever has the file reads everything. Default: never,
    /// whatever the environment says.
    #[must_use]
    pub fn log_keys(mut self) -> Self {
        self.log_keys = true;
        self
    }

    /// Trusts any certificate at all. For tests: whoever sits between can read and change everything.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.trust = Trust::Anything;
        self
    }

    /// Sends these credentials with every request.
    pub fn auth(mut self, auth: &Auth) -> Result<Self, ConfigError> {
        self.headers.authorize(auth)?;
        Ok(self)
    }

    /// Sends this header with every request; its value is treated as a secret.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, ConfigError> {
        self.headers.add(name, value)?;
        Ok(self)
    }

    /// Asks for credentials before each request, instead of sending the same ones each time.
    #[must_use]
    pub fn credentials(mut self, credentials: impl Credentials) -> Self {
        self.credentials = Some(Arc::new(credentials));
        self
    }

    /// How TCP flows are asked for. Default: [`TcpDialect::Auto`].
    #[must_use]
    pub fn tcp_dialect(mut self, dialect: TcpDialect) -> Self {
        self.tcp_dialect = dialect;
        self
    }

    /// How UDP flows are asked for. Default: [`UdpDialect::Auto`].
    #[must_use]
    pub fn udp_dialect(mut self, dialect: UdpDialect) -> Self {
        self.udp_dialect = dialect;
        self
    }

    /// What becomes of an app's end of stream. Default: [`HalfClose::Auto`].
    #[must_use]
    pub fn half_close(mut self, wanted: HalfClose) -> Self {
        self.half_close = wanted;
        self
    }

    /// Refuses proxies that do not negotiate HTTP/2. Without this, a proxy that knows HTTP/1.1 only
    /// gets one connection for each flow.
    #[must_use]
    pub fn http2_only(mut self) -> Self {
        self.http1 = false;
        self
    }

    /// The URI template of connect-tcp; the rules are those of connect-udp.
    ///
    /// Default: `https://HOST:PORT/.well-known/masque/tcp/{target_host}/{target_port}/`.
    pub fn tcp_template(mut self, template: &str) -> Result<Self, ConfigError> {
        self.tcp_template = Template::parse(template)?;
        Ok(self)
    }

    /// The URI template of connect-udp (RFC 9298 §2).
    ///
    /// Default: `https://HOST:PORT/.well-known/masque/udp/{target_host}/{target_port}/`.
    pub fn udp_template(mut self, template: &str) -> Result<Self, ConfigError> {
        self.udp_template = Template::parse(template)?;
        Ok(self)
    }

    /// Sends the datagrams of UDP flows before the proxy has answered (RFC 9298 §5), which saves a round
    /// trip to it. Default: off.
    ///
    /// This begins when the proxy has been seen to speak connect-udp over HTTP/2. A flow is open at once
    /// then, and ends if the proxy refuses it: what was sent is lost, and all that the owner hears is
    /// [`Unreachable`](pseudotcp_masque::TunnelError::Unreachable).
    #[must_use]
    pub fn early_datagrams(mut self) -> Self {
        self.early_datagrams = true;
        self
    }

    /// Called with each of the proxy's addresses before it is dialled, and awaited: what it does, such as
    /// making a way to the address, is part of the time that a dial may take. Not called for a proxy
    /// that is reached through another one.
    #[must_use]
    pub fn before_dial<F>(mut self, hook: impl Fn(IpAddr) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.before_dial = Some(Arc::new(move |address| hook(address).boxed()));
        self
    }

    /// Called with every socket before it connects; an error fails the dial.
    #[must_use]
    pub fn protect(
        mut self,
        hook: impl Fn(BorrowedFd<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.protect = Some(Arc::new(hook));
        self
    }

    /// Marks every socket (`SO_MARK`, Linux and Android), so that routing rules can tell the
    /// client's own traffic. Needs `CAP_NET_ADMIN`.
    #[must_use]
    pub fn mark(mut self, mark: u32) -> Self {
        self.mark = Some(mark);
        self
    }

    /// Sends by this congestion control algorithm of the kernel's (`TCP_CONGESTION`, Linux), as
    /// "bbr", which keeps its speed where some packets are lost. Dials fail where the kernel does not
    /// have it, or does not allow it.
    #[must_use]
    pub fn congestion_control(mut self, name: &str) -> Self {
        self.congestion_control = Some(name.to_owned());
        self
    }

    /// Sends through this network interface only (`SO_BINDTODEVICE`, Linux and Android).
    #[must_use]
    pub fn device(mut self, name: &str) -> Self {
        self.device = Some(name.to_owned());
        self
    }

    /// Reaches this proxy through another transport, for instance the client of another proxy: each
    /// connection is a TCP flow of that one, and has its own TLS, credentials and trust. Any number
    /// of hops can be chained so.
    ///
    /// Addresses and socket options of this configuration have no effect then: the hop looks up the
    /// name, and owns the sockets.
    #[must_use]
    pub fn through(mut self, hop: Arc<dyn Transport>) -> Self {
        self.through = Some(hop);
        self
    }

    /// Gives the targets for which this holds connections with fewer than five flows, so that they
    /// wait behind little. Default: none.
    #[must_use]
    pub fn low_latency(mut self, holds: impl Fn(&Target) -> bool + Send + Sync + 'static) -> Self {
        self.low_latency = Some(Arc::new(holds));
        self
    }

    /// Sets `SO_RCVBUF` and `SO_SNDBUF`, in bytes. Unset by default: the kernel then tunes them to
    /// the path, which a fixed value switches off.
    #[must_use]
    pub fn socket_buffer(mut self, bytes: usize) -> Self {
        self.socket_buffer = Some(bytes);
        self
    }

    /// `host:port` of the proxy, IPv6 in brackets.
    pub(crate) fn authority(&self) -> String {
        authority(&self.host, self.port)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("proxy", &self.authority())
            .field("server_name", &self.server_name)
            .field("trust", &format_args!("{}", self.trust))
            .field("headers", &self.headers)
            .field("through a hop", &self.through.is_some())
            .finish_non_exhaustive()
    }
}

/// Host (without brackets) and port of `https://HOST[:PORT][/]`.
fn parse_proxy(proxy: &str) -> Option<(String, u16)> {
    let uri: Uri = proxy.parse().ok()?;
    let plain =
        uri.scheme_str() == Some("https") && uri.path_and_query().is_none_or(|path| path == "/");
    let authority = uri.authority()?;
    let host = authority.host();
    // What precedes the host would be user information.
    let port = match authority.as_str().strip_prefix(host)? {
        "" => 443,
        port => port.strip_prefix(':')?.parse().ok()?,
    };
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    (plain && !host.is_empty() && port != 0).then(|| (host.to_owned(), port))
}

fn authority(host: &str, port: u16) -> String {
    Target::host(host, port).to_string()
}

/// 32 bytes in base64 or in hexadecimal digits.
fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        let byte = |at: usize| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
        return bytes?.try_into().ok();
    }
    STANDARD.decode(text.strip_prefix("sha256/").unwrap_or(text)).ok()?.try_into().ok()
}

fn parse_server_name(name: &str) -> Result<ServerName<'static>, ConfigError> {
    ServerName::try_from(name.to_owned()).map_err(|_| ConfigError::ServerName)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_https_origins() {
        let read = |proxy| Config::new(proxy).map(|c| (c.authority(), c.host));
        let is = |a: &str, h: &str| (a.to_owned(), h.to_owned());
        assert_eq!(read("https://p.example").unwrap(), is("p.example:443", "p.example"));
        assert_eq!(read("https://192.0.2.1:8443/").unwrap(), is("192.0.2.1:8443", "192.0.2.1"));
        assert_eq!(read("https://[2001:db8::1]:1").unwrap(), is("[2001:db8::1]:1", "2001:db8::1"));
        for bad in [
            "",
            "p.example:443",
            "http://p.example",
            "https://u:p@p.example",
            "https://p.example/path",
            "https://p.example?query",
            "https://p.example:0",
            "https://p.example:65536",
            "https://p.example:",
            "https://p ex",
        ] {
            assert!(matches!(read(bad), Err(ConfigError::Proxy)), "{bad}");
        }
    }

    #[test]
    fn a_pin_needs_a_certificate() {
        let config = Config::new("https://p.example").unwrap();
        assert!(matches!(config.clone().pin(b"no PEM"), Err(ConfigError::Certificate(None))));
        assert!(matches!(config.extra_ca(b""), Err(ConfigError::Certificate(None))));
    }

    #[test]
    fn pins_of_keys_are_hashes() {
        let config = Config::new("https://p.example").unwrap();
        let hash = [7; 32];
        let hex = "07".repeat(32);
        let base64 = STANDARD.encode(hash);
        for text in [&hex, &base64, &format!("sha256/{base64}")] {
            let pinned = config.clone().pin_key(text).unwrap();
            assert!(matches!(&pinned.trust, Trust::Pins(pins) if pins[..] == [Pin::Key(hash)]));
        }
        for bad in ["", "07", &hex[2..], "zz".repeat(32).as_str(), &format!("+7{}", &hex[2..])] {
            let outcome = config.clone().pin_key(bad).map(|config| config.trust.to_string());
            assert!(matches!(outcome, Err(ConfigError::Pin)), "{bad}: {outcome:?}");
        }
    }

    #[test]
    fn secrets_are_never_printed() {
        let config = Config::new("https://p.example").unwrap();
        let config = config.auth(&Auth::Bearer("hunter2".into())).unwrap();
        let config = config.header("x-client", "hunter2").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
