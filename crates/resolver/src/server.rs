use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use pseudotcp_dns::upstream::Endpoint;
use pseudotcp_masque::Target;

/// Where a server of each protocol listens (RFC 8484 §4, RFC 7858 §3.1, RFC 1035 §4.2).
const HTTPS_PORT: u16 = 443;
const TLS_PORT: u16 = 853;
const DNS_PORT: u16 = 53;

/// How a server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// DNS over HTTPS (RFC 8484).
    Https {
        /// Where requests go.
        endpoint: Endpoint,
        /// By GET, so that HTTP caches can answer; otherwise by POST.
        by_get: bool,
    },
    /// DNS over TLS (RFC 7858).
    Tls,
    /// Plain DNS over UDP; over TCP where an answer is truncated.
    Plain,
}

/// A DNS server: how it is asked, and where it is.
///
/// Its text is `https://HOST[:PORT]/PATH`, `tls://HOST[:PORT]`, `udp://IP[:PORT]` or `IP`; the first
/// two may be followed by `@` and the addresses of the host, between commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub(crate) protocol: Protocol,
    pub(crate) host: String,
    port: u16,
    addresses: Vec<IpAddr>,
}

/// Why a text is no DNS server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// It has none of the forms.
    #[error("a DNS server reads https://HOST/PATH, tls://HOST, udp://IP or IP")]
    Form,
    /// Its host or port is malformed, or a plain server has a name.
    #[error("the server's host or port is malformed")]
    Host,
    /// What follows `@` is no list of addresses.
    #[error("behind @ there must be IP addresses")]
    Addresses,
}

impl Server {
    /// How the server is asked.
    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// Where connections to it are opened, in the order in which they are tried. A host that is named
    /// without addresses is looked up by the far side.
    pub(crate) fn targets(&self) -> Vec<Target> {
        if self.addresses.is_empty() {
            return vec![Target::host(&self.host, self.port)];
        }
        let at = |ip: &IpAddr| Target::Address(SocketAddr::new(*ip, self.port));
        self.addresses.iter().map(at).collect()
    }

    fn https(text: &str) -> Result<Self, ServerError> {
        let (url, addresses) = split_addresses(text)?;
        let endpoint = Endpoint::parse(url).map_err(|_| ServerError::Form)?;
        let (host, port) = host_and_port(endpoint.authority(), HTTPS_PORT)?;
        let by_get = url.ends_with("{?dns}");
        Ok(Self { protocol: Protocol::Https { endpoint, by_get }, host, port, addresses })
    }

    fn tls(text: &str) -> Result<Self, ServerError> {
        let (authority, addresses) = split_addresses(text)?;
        let (host, port) = host_and_port(authority, TLS_PORT)?;
        Ok(Self { protocol: Protocol::Tls, host, port, addresses })
    }

    fn plain(text: &str) -> Result<Self, ServerError> {
        let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
        let address = address.or_else(|_| text.parse()).map_err(|_| ServerError::Form)?;
        Ok(address.into())
    }
}

/// A plain server.
impl From<SocketAddr> for Server {
    fn from(address: SocketAddr) -> Self {
        let (host, port) = (address.ip().to_string(), address.port());
        Self { protocol: Protocol::Plain, host, port, addresses: Vec::new() }
    }
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        match text.split_once("://") {
            Some(("https", _)) => Self::https(text),
            Some(("tls", rest)) => Self::tls(rest),
            Some(("udp", rest)) => Self::plain(rest),
            Some(_) => Err(ServerError::Form),
            None => Self::plain(text),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.protocol {
            Protocol::Https { endpoint, .. } => endpoint.fmt(f),
            Protocol::Tls => write!(f, "tls://{}", Target::host(&self.host, self.port)),
            Protocol::Plain => write!(f, "udp://{}", Target::host(&self.host, self.port)),
        }
    }
}

/// The addresses behind the last `@`.
fn split_addresses(text: &str) -> Result<(&str, Vec<IpAddr>), ServerError> {
    let Some((server, list)) = text.rsplit_once('@') else { return Ok((text, Vec::new())) };
    let addresses: Result<_, _> = list.split(',').map(str::parse).collect();
    Ok((server, addresses.map_err(|_| ServerError::Addresses)?))
}

fn host_and_port(authority: &str, default: u16) -> Result<(String, u16), ServerError> {
    let with_port = || format!("{authority}:{default}").parse::<Target>();
    let target = authority.parse::<Target>().or_else(|_| with_port());
    match target.map_err(|_| ServerError::Host)? {
        Target::Address(address) => Ok((address.ip().to_string(), address.port())),
        Target::Host { name, port } => Ok((name.to_string(), port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(text: &str) -> Vec<String> {
        let server: Server = text.parse().unwrap();
        server.targets().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn servers_are_read() {
        assert_eq!(targets("https://1.1.1.1/dns-query"), ["1.1.1.1:443"]);
        assert_eq!(targets("https://dns.example/q"), ["dns.example:443"]);
        let addresses = ["192.0.2.1:8443", "[2001:db8::1]:8443"];
        assert_eq!(targets("https://dns.example:8443/q@192.0.2.1,2001:db8::1"), addresses);
        assert_eq!(targets("tls://[2001:db8::1]"), ["[2001:db8::1]:853"]);
        assert_eq!(targets("tls://dns.example:8853@192.0.2.1"), ["192.0.2.1:8853"]);
        assert_eq!(targets("192.0.2.1"), ["192.0.2.1:53"]);
        assert_eq!(targets("2001:db8::1"), ["[2001:db8::1]:53"]);
        assert_eq!(targets("udp://192.0.2.1:5353"), ["192.0.2.1:5353"]);
    }

    #[test]
    fn a_template_with_its_expression_means_get() {
        let is_get = |text: &str| match text.parse::<Server>().unwrap().protocol {
            Protocol::Https { by_get, .. } => by_get,
            _ => false,
        };
        assert!(is_get("https://dns.example/q{?dns}"));
        assert!(is_get("https://dns.example/q{?dns}@192.0.2.1"));
        assert!(!is_get("https://dns.example/q"));
    }

    #[test]
    fn what_is_no_server_is_told_why() {
        for (text, error) in [
            ("", ServerError::Form),
            ("dns.example", ServerError::Form),
            ("quic://192.0.2.1", ServerError::Form),
            ("udp://dns.example", ServerError::Form),
            ("https:///q", ServerError::Form),
            ("https://dns.example:0/q", ServerError::Host),
            ("tls://a b", ServerError::Host),
            ("tls://dns.example@nowhere", ServerError::Addresses),
        ] {
            assert_eq!(text.parse::<Server>(), Err(error), "{text}");
        }
    }
}
