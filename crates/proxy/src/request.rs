//! What a request asks for.

use h2::ext::Protocol as ExtendedConnect;
use http::uri::{Authority, Scheme};
use http::{Method, Request};
use pseudotcp_masque::Target;
use pseudotcp_masque::datagram::Format;

use crate::refusal::Refusal;
use crate::template::{PathError, PathTemplate, Templates};

/// The ways in which a tunnel is asked for, and what it then carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// CONNECT (RFC 9113 §8.5, RFC 9110 §9.3.6): the stream is the bytes.
    Connect,
    /// connect-tcp (draft-ietf-httpbis-connect-tcp): the bytes are in capsules.
    ConnectTcp,
    /// connect-udp (RFC 9298): datagrams are in capsules.
    ConnectUdp,
    /// The method CONNECT-UDP (draft-ietf-masque-connect-udp-03): the same without context ids.
    ConnectUdpDraft03,
}

impl Protocol {
    pub(crate) const ALL: [Self; 4] =
        [Self::Connect, Self::ConnectTcp, Self::ConnectUdp, Self::ConnectUdpDraft03];

    /// HTTP/1.1's Upgrade of a GET is given as the extended CONNECT that means the same.
    pub(crate) fn of<B>(request: &Request<B>) -> Result<Self, Refusal> {
        let extended = request.extensions().get::<ExtendedConnect>();
        match (request.method().as_str(), extended.map(ExtendedConnect::as_str)) {
            ("CONNECT", None) => Ok(Self::Connect),
            ("CONNECT", Some("connect-tcp")) => Ok(Self::ConnectTcp),
            ("CONNECT", Some("connect-udp")) => Ok(Self::ConnectUdp),
            ("CONNECT-UDP", None) => Ok(Self::ConnectUdpDraft03),
            _ if is_known_method(request.method()) => Err(Refusal::method_not_allowed("CONNECT")),
            _ => Err(Refusal::not_implemented()),
        }
    }

    /// As the request says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnectTcp => "connect-tcp",
            Self::ConnectUdp => "connect-udp",
            Self::ConnectUdpDraft03 => "CONNECT-UDP",
        }
    }

    pub(crate) fn is_udp(self) -> bool {
        matches!(self, Self::ConnectUdp | Self::ConnectUdpDraft03)
    }

    /// The token of HTTP/1.1's Upgrade; without one the request is a method of its own.
    pub(crate) fn upgrade(self) -> Option<&'static str> {
        match self {
            Self::ConnectTcp => Some("connect-tcp"),
            Self::ConnectUdp => Some("connect-udp"),
            Self::Connect | Self::ConnectUdpDraft03 => None,
        }
    }

    pub(crate) fn datagram_format(self) -> Format {
        match self {
            Self::ConnectUdpDraft03 => Format::Draft03,
            _ => Format::Rfc9298,
        }
    }
}

/// A tunnel that a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) protocol: Protocol,
    pub(crate) target: Target,
}

impl Wish {
    pub(crate) fn parse<B>(
        protocol: Protocol,
        request: &Request<B>,
        templates: &Templates,
    ) -> Result<Self, Refusal> {
        let target = match protocol {
            Protocol::Connect | Protocol::ConnectUdpDraft03 => {
                parse_authority(request.uri().authority())
            }
            Protocol::ConnectTcp => parse_path(request, &templates.tcp),
            Protocol::ConnectUdp => parse_path(request, &templates.udp),
        };
        Ok(Self { protocol, target: target? })
    }
}

/// The methods of RFC 9110 §9.3 and RFC 5789 other than CONNECT.
fn is_known_method(method: &Method) -> bool {
    const KNOWN: [Method; 8] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ];
    KNOWN.contains(method)
}

/// RFC 9113 §8.5: `:authority` holds host and port, and neither may be missing.
fn parse_authority(authority: Option<&Authority>) -> Result<Target, Refusal> {
    let bad = || Refusal::bad_request("the authority must be host:port");
    authority.and_then(|authority| authority.as_str().parse().ok()).ok_or_else(bad)
}

fn parse_path<B>(request: &Request<B>, template: &PathTemplate) -> Result<Target, Refusal> {
    // RFC 9298 §3.4: the scheme is https and the authority that of the proxy.
    if request.uri().scheme() != Some(&Scheme::HTTPS) || request.uri().authority().is_none() {
        return Err(Refusal::bad_request("the scheme must be https, with an authority"));
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    template.target(path).map_err(|error| match error {
        PathError::Elsewhere => Refusal::not_found(),
        PathError::Malformed => Refusal::bad_request("the path must hold a host and a port"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wish that is found, or the status of the refusal.
    fn parse(request: http::request::Builder) -> Result<Wish, u16> {
        let request = request.body(()).unwrap();
        Protocol::of(&request)
            .and_then(|protocol| Wish::parse(protocol, &request, &Templates::default()))
            .map_err(|refusal| refusal.status().as_u16())
    }

    fn wish(protocol: Protocol, host: &str, port: u16) -> Wish {
        Wish { protocol, target: Target::host(host, port) }
    }

    fn connect(authority: &str) -> Result<Wish, u16> {
        parse(Request::connect(authority))
    }

    fn extended(protocol: &'static str, uri: &str) -> Result<Wish, u16> {
        parse(Request::connect(uri).extension(ExtendedConnect::from_static(protocol)))
    }

    #[test]
    fn connect_takes_addresses_and_names() {
        for (authority, target) in [
            ("192.0.2.1:443", wish(Protocol::Connect, "192.0.2.1", 443)),
            ("[2001:db8::1]:443", wish(Protocol::Connect, "2001:db8::1", 443)),
            ("example.org:80", wish(Protocol::Connect, "example.org", 80)),
            ("example.org.:80", wish(Protocol::Connect, "example.org", 80)),
        ] {
            assert_eq!(connect(authority), Ok(target), "{authority}");
        }
    }

    #[test]
    fn bad_authorities_are_bad_requests() {
        for authority in [
            "192.0.2.1",
            "192.0.2.1:0",
            "192.0.2.1:99999",
            "user@192.0.2.1:80",
            "[example.org]:80",
            "[192.0.2.1]:80",
            "256.0.0.1:80",
            "a_very..bad.name:80",
        ] {
            assert_eq!(connect(authority), Err(400), "{authority}");
        }
    }

    #[test]
    fn templated_protocols_take_their_template_only() {
        for (protocol, kind) in [(Protocol::ConnectUdp, "udp"), (Protocol::ConnectTcp, "tcp")] {
            let name = protocol.upgrade().unwrap();
            let get = |uri: &str| extended(name, uri);
            let path = format!("https://proxy.test/.well-known/masque/{kind}");
            let target = wish(protocol, "192.0.2.1", 53);
            assert_eq!(get(&format!("{path}/192.0.2.1/53/")), Ok(target));
            assert_eq!(get(&format!("{path}/192.0.2.1/0/")), Err(400));
            assert_eq!(get("https://proxy.test/elsewhere"), Err(404));
            assert_eq!(get(&format!("{path}/192.0.2.1/53/").replace("https", "http")), Err(400));
        }
    }

    #[test]
    fn the_old_draft_names_its_target_in_the_authority() {
        let draft = |uri: &str| parse(Request::builder().method("CONNECT-UDP").uri(uri));
        let target = wish(Protocol::ConnectUdpDraft03, "192.0.2.1", 53);
        for uri in ["masque://192.0.2.1:53/", "https://192.0.2.1:53/"] {
            assert_eq!(draft(uri), Ok(target.clone()), "{uri}");
        }
        assert_eq!(draft("masque://192.0.2.1/"), Err(400));
    }

    #[test]
    fn what_is_no_tunnel_is_told_so() {
        assert_eq!(
            extended("connect-ip", "https://proxy.test/.well-known/masque/ip/*/*/"),
            Err(501)
        );
        assert_eq!(parse(Request::get("https://proxy.test/")), Err(405));
        assert_eq!(parse(Request::builder().method("BREW").uri("https://a.test/")), Err(501));
    }
}
