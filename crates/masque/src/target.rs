use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// Where a flow shall go: an address or a host name, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An IP address and a port.
    Address(SocketAddr),
    /// A host name, which the far side resolves, and a port.
    Host {
        /// The name in its ASCII (A-label) form, without a final dot.
        name: Arc<str>,
        /// The port.
        port: u16,
    },
}

impl Target {
    /// A target by name; an IP literal (bracketed or not) becomes an address.
    pub fn host(name: &str, port: u16) -> Self {
        let literal = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
        match literal.parse::<IpAddr>() {
            Ok(ip) => Self::Address(SocketAddr::new(ip, port)),
            Err(_) => Self::Host { name: name.into(), port },
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        match self {
            Self::Address(address) => address.port(),
            Self::Host { port, .. } => *port,
        }
    }

    /// Whether the target is an IPv6 address; names are neither.
    pub fn is_ipv6(&self) -> bool {
        matches!(self, Self::Address(SocketAddr::V6(_)))
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

/// The authority form of RFC 9110 §7.1: `host:port`, IPv6 in brackets.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Host { name, port } => write!(f, "{name}:{port}"),
        }
    }
}

/// One wish to open a flow, as it travels through the wrappers down to the transport.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenRequest {
    /// Where the flow shall go.
    pub target: Target,
    /// The app's own address, where the flow came from packets.
    pub source: Option<SocketAddr>,
    /// When the caller gives up; transports answer [`OpenError::TimedOut`](crate::OpenError)
    /// by then, or use a limit of their own where it is earlier.
    pub deadline: Option<Instant>,
}

impl OpenRequest {
    /// A request with neither source nor deadline.
    pub fn new(target: impl Into<Target>) -> Self {
        Self { target: target.into(), source: None, deadline: None }
    }

    /// Names the app's own address.
    #[must_use]
    pub fn with_source(mut self, source: SocketAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Sets when the caller gives up.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }
}
