//! What a request asks for.

use h2::ext::Protocol;
use http::uri::{Authority, Scheme};
use http::{Method, Request};
use pseudotcp_masque::Target;

use crate::refusal::Refusal;
use crate::template::{PathError, PathTemplate, parse_host, parse_port};

/// A tunnel that a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// CONNECT (RFC 9113 §8.5).
    Tcp(Target),
    /// Extended CONNECT with the protocol connect-udp (RFC 9298 §3.4).
    Udp(Target),
}

impl Wish {
    pub(crate) fn parse<B>(request: &Request<B>, udp: &PathTemplate) -> Result<Self, Refusal> {
        match request.extensions().get::<Protocol>().map(Protocol::as_str) {
            _ if is_known_method(request.method()) => Err(Refusal::method_not_allowed()),
            _ if request.method() != Method::CONNECT => Err(Refusal::not_implemented()),
            None => parse_authority(request.uri().authority()).map(Self::Tcp),
            Some("connect-udp") => parse_udp(request, udp).map(Self::Udp),
            Some(_) => Err(Refusal::not_implemented()),
        }
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
    let (host, port) = authority.and_then(|a| a.as_str().rsplit_once(':')).ok_or_else(bad)?;
    let port = parse_port(port).ok_or_else(bad)?;
    match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
        // RFC 3986 §3.2.2: brackets hold an IPv6 address and nothing else.
        Some(inside) => inside.and_then(|h| parse_host(h, port)).filter(Target::is_ipv6),
        None => parse_host(host, port).filter(|target| !target.is_ipv6()),
    }
    .ok_or_else(bad)
}

fn parse_udp<B>(request: &Request<B>, template: &PathTemplate) -> Result<Target, Refusal> {
    // RFC 9298 §3.4: the scheme is https and the authority that of the proxy.
    if request.uri().scheme() != Some(&Scheme::HTTPS) || request.uri().authority().is_none() {
        return Err(Refusal::bad_request("connect-udp needs the scheme https and an authority"));
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

    /// The target that is found, or the status of the refusal.
    fn parse(request: http::request::Builder) -> Result<Wish, u16> {
        Wish::parse(&request.body(()).unwrap(), &PathTemplate::default())
            .map_err(|refusal| refusal.status().as_u16())
    }

    fn connect(authority: &str) -> Result<Wish, u16> {
        parse(Request::connect(authority))
    }

    fn extended(protocol: &'static str, uri: &str) -> Result<Wish, u16> {
        parse(Request::connect(uri).extension(Protocol::from_static(protocol)))
    }

    #[test]
    fn connect_takes_addresses_and_names() {
        for (authority, target) in [
            ("192.0.2.1:443", Target::host("192.0.2.1", 443)),
            ("[2001:db8::1]:443", Target::host("2001:db8::1", 443)),
            ("example.org:80", Target::host("example.org", 80)),
            ("example.org.:80", Target::host("example.org", 80)),
        ] {
            assert_eq!(connect(authority), Ok(Wish::Tcp(target)), "{authority}");
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
    fn connect_udp_takes_its_template_only() {
        let path = "https://proxy.test/.well-known/masque/udp";
        let target = Target::host("192.0.2.1", 53);
        assert_eq!(
            extended("connect-udp", &format!("{path}/192.0.2.1/53/")),
            Ok(Wish::Udp(target))
        );
        assert_eq!(extended("connect-udp", &format!("{path}/192.0.2.1/0/")), Err(400));
        assert_eq!(extended("connect-udp", "https://proxy.test/elsewhere"), Err(404));
        assert_eq!(
            extended("connect-udp", "http://proxy.test/.well-known/masque/udp/192.0.2.1/53/"),
            Err(400)
        );
    }

    #[test]
    fn what_is_no_tunnel_is_told_so() {
        assert_eq!(
            extended("connect-ip", "https://proxy.test/.well-known/masque/ip/*/*/"),
            Err(501)
        );
        assert_eq!(parse(Request::get("https://proxy.test/")), Err(405));
        assert_eq!(
            parse(Request::builder().method("CONNECT-UDP").uri("masque://a.test:1/")),
            Err(501)
        );
    }
}
