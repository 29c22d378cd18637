use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
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

    /// The target that an untrusted host and port name: an IP literal without brackets or zone, or
    /// a plausible host name; a decimal port from 1 to 65,535.
    pub fn from_parts(host: &str, port: &str) -> Result<Self, InvalidTarget> {
        // `parse` alone would take a sign.
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port != 0).ok_or(InvalidTarget)?;
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Self::Address(SocketAddr::new(ip, port)));
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        if is_host_name(name) {
            Ok(Self::Host { name: name.into(), port })
        } else {
            Err(InvalidTarget)
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

/// The authority form, as a proxy receives it in CONNECT: `host:port`, IPv6 in brackets.
impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(authority: &str) -> Result<Self, InvalidTarget> {
        let (host, port) = authority.rsplit_once(':').ok_or(InvalidTarget)?;
        let Some(literal) = host.strip_prefix('[') else {
            // An IPv6 literal needs its brackets here; names have no colons.
            return if host.contains(':') {
                Err(InvalidTarget)
            } else {
                Self::from_parts(host, port)
            };
        };
        let literal = literal.strip_suffix(']').filter(|literal| literal.contains(':'));
        Self::from_parts(literal.ok_or(InvalidTarget)?, port)
    }
}

/// A text that names no target: a malformed host, port or encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid target host and port")]
pub struct InvalidTarget;

/// Whether `name` can be a host name: labels of letters, digits, hyphens and underscores, and not
/// numbers alone (WHATWG and RFC 1123 read such names as odd IPv4 addresses).
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let last_is_number = name.rsplit('.').next().is_some_and(|label| label.parse::<u64>().is_ok());
    name.len() <= 253 && !last_is_number && name.split('.').all(is_label)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_read_strictly() {
        let read = |text: &str| text.parse::<Target>();
        assert_eq!(read("192.0.2.6:443"), Ok(Target::host("192.0.2.6", 443)));
        assert_eq!(read("[2001:db8::1]:443"), Ok(Target::host("2001:db8::1", 443)));
        assert_eq!(read("name.example.:80"), Ok(Target::host("name.example", 80)));
        for bad in [
            "",
            ":",
            "a",
            "a:",
            ":1",
            "a:0",
            "a:+1",
            "a:65536",
            "a:1:2",
            "2001:db8::1:443",
            "[2001:db8::1]",
            "[192.0.2.6]:1",
            "[name]:1",
            "[fe80::1%eth0]:1",
            "user@a:1",
            "a b:1",
            "a..b:1",
            "127.1:80",
            "1:80",
            "ä:1",
            "a/b:1",
        ] {
            assert_eq!(read(bad), Err(InvalidTarget), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_is_read() {
        for target in ["192.0.2.6", "2001:db8::1", "name.example"].map(|h| Target::host(h, 443)) {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
    }
}
