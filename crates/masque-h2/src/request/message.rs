//! The requests for a flow, in each of the dialects.

use h2::ext::Protocol;
use http::header::HeaderValue;
use http::uri::{Authority, Parts, Uri};
use http::{Method, Request};
use pseudotcp_masque::datagram::Format;
use pseudotcp_masque::{OpenError, Target};

use crate::Config;

/// A way to ask for a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// CONNECT (RFC 9110 §9.3.6, RFC 9113 §8.5).
    Connect,
    /// connect-tcp (draft-ietf-httpbis-connect-tcp): the bytes in capsules.
    ConnectTcp,
    /// connect-udp (RFC 9298).
    ConnectUdp,
    /// The method CONNECT-UDP (draft-ietf-masque-connect-udp-03).
    ConnectUdpDraft03,
}

impl Dialect {
    /// The request, without credentials.
    pub(super) fn request(
        self,
        config: &Config,
        target: &Target,
    ) -> Result<Request<()>, OpenError> {
        match self {
            Self::Connect => connect(target),
            Self::ConnectTcp => extended(&config.tcp_template.expand(target), "connect-tcp"),
            Self::ConnectUdp => extended(&config.udp_template.expand(target), "connect-udp"),
            Self::ConnectUdpDraft03 => connect_udp_draft(target),
        }
    }

    /// Whether this status says that the proxy does not know the dialect, rather than something of
    /// the target.
    pub(super) fn is_foreign(self, status: u16) -> bool {
        match self {
            Self::Connect => [426, 501].contains(&status),
            _ => [400, 404, 405, 426, 501].contains(&status),
        }
    }

    /// What stands in the DATAGRAM capsules.
    pub(super) fn format(self) -> Format {
        if self == Self::ConnectUdpDraft03 { Format::Draft03 } else { Format::Rfc9298 }
    }
}

/// A target that no request can name.
#[derive(Debug, thiserror::Error)]
#[error("the target's name cannot be written in a request")]
struct Unwritable;

/// RFC 9113 §8.5: a method and an authority, nothing else.
fn connect(target: &Target) -> Result<Request<()>, OpenError> {
    let mut parts = Parts::default();
    parts.authority = Some(authority(target)?);
    request(Method::CONNECT, Uri::from_parts(parts).map_err(|_| unwritable())?)
}

/// RFC 9298 §3.4: an extended CONNECT whose body is capsules.
fn extended(uri: &str, protocol: &'static str) -> Result<Request<()>, OpenError> {
    let uri = Uri::try_from(uri).map_err(|_| unwritable())?;
    let mut request = request(Method::CONNECT, uri)?;
    request.extensions_mut().insert(Protocol::from_static(protocol));
    request.headers_mut().insert("capsule-protocol", HeaderValue::from_static("?1"));
    Ok(request)
}

fn connect_udp_draft(target: &Target) -> Result<Request<()>, OpenError> {
    let uri = format!("masque://{}/", authority(target)?);
    let method = Method::from_bytes(b"CONNECT-UDP").map_err(|_| unwritable())?;
    request(method, Uri::try_from(uri).map_err(|_| unwritable())?)
}

/// RFC 9110 §9.3.6: a host and a port, nothing else.
fn authority(target: &Target) -> Result<Authority, OpenError> {
    let authority = Authority::try_from(target.to_string()).map_err(|_| unwritable())?;
    let host = authority.host();
    if host.is_empty() || authority.as_str() != format!("{host}:{}", target.port()) {
        return Err(unwritable());
    }
    Ok(authority)
}

fn request(method: Method, uri: Uri) -> Result<Request<()>, OpenError> {
    let request = Request::builder().method(method).uri(uri).body(());
    request.map_err(|error| OpenError::Protocol(error.into()))
}

fn unwritable() -> OpenError {
    OpenError::Protocol(Unwritable.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(dialect: Dialect, host: &str) -> Option<String> {
        let config = Config::new("https://p.example").unwrap();
        let request = dialect.request(&config, &Target::host(host, 443)).ok()?;
        Some(request.uri().to_string())
    }

    #[test]
    fn authorities_name_host_and_port_alone() {
        for (dialect, before, after) in
            [(Dialect::Connect, "", ""), (Dialect::ConnectUdpDraft03, "masque://", "/")]
        {
            let is = |host, authority: &str| {
                assert_eq!(uri(dialect, host).unwrap(), format!("{before}{authority}{after}"));
            };
            is("example.org", "example.org:443");
            is("192.0.2.1", "192.0.2.1:443");
            is("2001:db8::1", "[2001:db8::1]:443");
            for bad in ["", "a b", "a/b", "u@h", "a:1", "h\r\nx", "ü"] {
                assert_eq!(uri(dialect, bad), None, "{bad:?}");
            }
        }
    }

    #[test]
    fn templates_name_the_target_in_the_path() {
        let path = |kind| format!("https://p.example:443/.well-known/masque/{kind}/192.0.2.1/443/");
        assert_eq!(uri(Dialect::ConnectUdp, "192.0.2.1").unwrap(), path("udp"));
        assert_eq!(uri(Dialect::ConnectTcp, "192.0.2.1").unwrap(), path("tcp"));
    }
}
