use std::time::Duration;

use crate::ConfigError;
use crate::auth::Auth;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::policy::{AddressPolicy, Rule};
use crate::template::{PathTemplate, Templates};

/// How a [`Server`](crate::Server) behaves. Every setter tells its unit and its default.
///
/// ```
/// # use pseudotcp_proxy::{Config, ConfigError};
/// let config = Config::self_signed(["localhost"])?
///     .bearer("a token")?
///     .allow("10.20.0.0/16".parse().unwrap())
///     .max_tunnels(1_000);
/// assert!(!config.certificate_der().is_empty());
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) identity: Identity,
    pub(crate) auth: Auth,
    pub(crate) policy: AddressPolicy,
    pub(crate) deny_private: Option<bool>,
    pub(crate) limits: Limits,
    pub(crate) templates: Templates,
    pub(crate) congestion_control: Option<String>,
}

impl Config {
    /// Shows this certificate chain (end entity first) and signs with this key, both PEM.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        Identity::from_pem(chain, key).map(Self::with_identity)
    }

    /// Makes a fresh key and a certificate for these names or addresses; clients pin
    /// [`certificate_der`](Self::certificate_der).
    pub fn self_signed<S: Into<String>>(
        names: impl IntoIterator<Item = S>,
    ) -> Result<Self, ConfigError> {
        let names = names.into_iter().map(Into::into).collect();
        Identity::self_signed(names).map(Self::with_identity)
    }

    fn with_identity(identity: Identity) -> Self {
        Self {
            identity,
            auth: Auth::default(),
            policy: AddressPolicy::default(),
            deny_private: None,
            limits: Limits::default(),
            templates: Templates::default(),
            congestion_control: None,
        }
    }

    /// The end-entity certificate in DER, for pinning.
    pub fn certificate_der(&self) -> &[u8] {
        self.identity.certificate_der()
    }

    /// Accepts `Basic` credentials (RFC 7617). As soon as any credential is configured, requests
    /// without one of them are answered 407; without any, the proxy is open to everybody.
    pub fn basic(mut self, user: &str, password: &str) -> Result<Self, ConfigError> {
        self.auth.accept_basic(user, password)?;
        Ok(self)
    }

    /// Accepts a `Bearer` token (RFC 6750).
    pub fn bearer(self, token: &str) -> Result<Self, ConfigError> {
        self.proxy_authorization(&format!("Bearer {token}"))
    }

    /// Accepts a whole `Proxy-Authorization` value: a scheme, a space, its credentials.
    pub fn proxy_authorization(mut self, value: &str) -> Result<Self, ConfigError> {
        self.auth.accept(value)?;
        Ok(self)
    }

    /// Allows these targets, even those of a denied rule; and private ones, if the rule names their
    /// network.
    #[must_use]
    pub fn allow(mut self, rule: Rule) -> Self {
        self.policy.allow(rule);
        self
    }

    /// Denies these targets. The check is on the resolved address.
    #[must_use]
    pub fn deny(mut self, rule: Rule) -> Self {
        self.policy.deny(rule);
        self
    }

    /// Whether private, link-local and loopback targets are denied. By default they are when the
    /// server listens on anything but loopback: whoever reaches it would otherwise reach what is
    /// behind it.
    #[must_use]
    pub fn deny_private(mut self, deny: bool) -> Self {
        self.deny_private = Some(deny);
        self
    }

    /// The most client connections at once; what is beyond is closed unheard. Default 1,024.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.limits.connections = connections;
        self
    }

    /// The most connections at once of one client, which is an IPv4 address or an IPv6 network of 64
    /// bits; what is beyond is closed unheard. Default 1,024.
    #[must_use]
    pub fn max_connections_per_client(mut self, connections: usize) -> Self {
        self.limits.connections_per_client = connections;
        self
    }

    /// Sends to clients by this congestion control algorithm of the kernel's (`TCP_CONGESTION`,
    /// Linux), as "bbr", which keeps its speed where some packets are lost.
    /// [`Server::bind`](crate::Server::bind) fails where the kernel does not have it, or does not
    /// allow it.
    #[must_use]
    pub fn congestion_control(mut self, name: &str) -> Self {
        self.congestion_control = Some(name.to_owned());
        self
    }

    /// The most tunnels at once, all clients together; what is beyond is answered 503. Default
    /// 16,384. Each costs a file descriptor, and about 3 KiB while it is idle.
    #[must_use]
    pub fn max_tunnels(mut self, tunnels: usize) -> Self {
        self.limits.tunnels = tunnels;
        self
    }

    /// The most tunnels at once of one client, over all its connections; what is beyond is answered
    /// 429. Default 16,384.
    #[must_use]
    pub fn max_tunnels_per_client(mut self, tunnels: usize) -> Self {
        self.limits.tunnels_per_client = tunnels;
        self
    }

    /// The most tunnels at once in one connection (`SETTINGS_MAX_CONCURRENT_STREAMS`). Default
    /// 4,096: a client is a whole device or network, each of its DNS questions may be a tunnel, and
    /// a stream costs less than a second connection.
    #[must_use]
    pub fn max_concurrent_streams(mut self, streams: u32) -> Self {
        self.limits.streams = streams;
        self
    }

    /// What a client may send ahead of the targets, in bytes: in one tunnel (default 16 MiB, enough
    /// for 1.3 Gbit/s at 100 ms) and in one connection (default 64 MiB). What stalled targets hold
    /// is added to the connection's window, so that they never stop their neighbours, until
    /// [`buffer_budget`](Self::buffer_budget) is used up. At most 2³¹ − 1 each.
    #[must_use]
    pub fn windows(mut self, stream: u32, connection: u32) -> Self {
        self.limits.stream_window = stream.min(Limits::MAX_WINDOW);
        self.limits.connection_window = connection.min(Limits::MAX_WINDOW);
        self
    }

    /// The most bytes that may wait for stalled targets, all clients together, before connections
    /// are slowed as a whole. Default 1 GiB. The bound on memory is this and one connection window a
    /// client.
    #[must_use]
    pub fn buffer_budget(mut self, bytes: usize) -> Self {
        self.limits.buffer_budget = bytes;
        self
    }

    /// How long a client may take for its TLS and HTTP/2 handshakes. Default 10 s.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.limits.handshake_timeout = timeout;
        self
    }

    /// How long a target may take: once for its name, once for all its addresses. Default 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.limits.connect_timeout = timeout;
        self
    }

    /// After what silence in both directions a TCP tunnel is reset. Default 2 h 4 min (RFC 5382
    /// REQ-5).
    #[must_use]
    pub fn tcp_idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.tcp_idle = timeout;
        self
    }

    /// After what silence in both directions a UDP tunnel is ended. Default 5 min; RFC 9298 §3.1
    /// asks for at least 2.
    #[must_use]
    pub fn udp_idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.udp_idle = timeout;
        self
    }

    /// After what time without tunnels a client connection is closed. Default 1 h.
    #[must_use]
    pub fn connection_idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.connection_idle = timeout;
        self
    }

    /// How long open tunnels may go on after the shutdown was asked for. Default 10 s.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.limits.drain = timeout;
        self
    }

    /// The path template of connect-udp, with `{target_host}` before `{target_port}`. Default
    /// `/.well-known/masque/udp/{target_host}/{target_port}/` (RFC 9298 §2).
    pub fn udp_template(mut self, template: &str) -> Result<Self, ConfigError> {
        self.templates.udp = PathTemplate::parse(template)?;
        Ok(self)
    }

    /// The path template of connect-tcp, in the same form. Default
    /// `/.well-known/masque/tcp/{target_host}/{target_port}/`.
    pub fn tcp_template(mut self, template: &str) -> Result<Self, ConfigError> {
        self.templates.tcp = PathTemplate::parse(template)?;
        Ok(self)
    }
}
