//! The heads of HTTP/1.1 (RFC 9112): requests are read with `httparse`, answers written.

use std::fmt::Write as _;

use h2::ext::Protocol as ExtendedConnect;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use httparse::Status;

use crate::refusal::Refusal;
use crate::request::Protocol;

/// The most bytes of a request's head; a credential may be long.
pub(crate) const MAX_HEAD: usize = 16 * 1024;

/// The most fields of a head.
const MAX_FIELDS: usize = 64;

/// A request in the terms of HTTP/2: an Upgrade has become an extended CONNECT.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) request: Request<()>,
    /// Whether another request may follow where this one is refused.
    pub(crate) keep_alive: bool,
}

/// The head at the front of `bytes` and its length; `None` while there is not all of it.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    match head.parse(bytes) {
        Ok(Status::Complete(length)) => Ok(Some((Head::new(&head)?, length))),
        Ok(Status::Partial) if bytes.len() < MAX_HEAD => Ok(None),
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            Err(Refusal::head_too_large())
        }
        Err(httparse::Error::Version) => Err(Refusal::version_not_supported()),
        Err(_) => Err(Refusal::bad_request("the head is malformed")),
    }
}

impl Head {
    fn new(head: &httparse::Request<'_, '_>) -> Result<Self, Refusal> {
        let malformed = || Refusal::bad_request("the request line is malformed");
        let is_1_1 = head.version == Some(1);
        let mut request = Request::new(());
        *request.headers_mut() = fields(head.headers)?;
        check_framing(request.headers(), is_1_1)?;
        let method = Method::from_bytes(head.method.unwrap_or_default().as_bytes());
        *request.method_mut() = method.map_err(|_| malformed())?;
        let target = head.path.unwrap_or_default();
        // RFC 9110 §7.8: HTTP/1.0 knows no Upgrade.
        let upgrade = Some(request.method()).filter(|method| is_1_1 && **method == Method::GET);
        let uri = match upgrade.and_then(|_| upgrade_token(request.headers())) {
            Some(token) => {
                request.extensions_mut().insert(ExtendedConnect::from(token.as_str()));
                *request.method_mut() = Method::CONNECT;
                resource(target, request.headers())
            }
            None if *request.method() == Method::CONNECT => authority(target),
            None => target.parse().ok(),
        };
        *request.uri_mut() = uri.ok_or_else(malformed)?;
        // RFC 9931 §7: what follows a refused CONNECT may be meant for its target, and not for us.
        let is_connect =
            matches!(Protocol::of(&request), Ok(Protocol::Connect | Protocol::ConnectUdpDraft03));
        let keep_alive = persists(request.headers(), is_1_1) && !is_connect;
        Ok(Self { request, keep_alive })
    }
}

fn fields(fields: &[httparse::Header<'_>]) -> Result<HeaderMap, Refusal> {
    let field = |field: &httparse::Header<'_>| {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(field.value).ok()?))
    };
    let mut map = HeaderMap::with_capacity(fields.len());
    for one in fields {
        let (name, value) =
            field(one).ok_or_else(|| Refusal::bad_request("a field is malformed"))?;
        map.append(name, value);
    }
    Ok(map)
}

/// Where the request begins and ends must be beyond doubt.
fn check_framing(headers: &HeaderMap, is_1_1: bool) -> Result<(), Refusal> {
    let hosts = headers.get_all(HOST).iter().count();
    // RFC 9112 §3.2: HTTP/1.1 names its host, and nobody names two.
    if hosts > 1 || (is_1_1 && hosts == 0) {
        return Err(Refusal::bad_request("there must be one Host"));
    }
    // RFC 9110 §9.3.6: CONNECT has no content, and nothing else of ours has any.
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if headers.contains_key(TRANSFER_ENCODING) || lengths.any(|length| length != "0") {
        return Err(Refusal::bad_request("requests with content are not served"));
    }
    Ok(())
}

/// The protocol to which the client would change.
fn upgrade_token(headers: &HeaderMap) -> Option<String> {
    let wanted = tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    tokens(headers, &UPGRADE).next().filter(|_| wanted).map(str::to_ascii_lowercase)
}

/// RFC 9112 §9.3: what says that the connection may stay open.
fn persists(headers: &HeaderMap, is_1_1: bool) -> bool {
    let says = |option| tokens(headers, &CONNECTION).any(|t| t.eq_ignore_ascii_case(option));
    if is_1_1 { !says("close") } else { says("keep-alive") }
}

/// The members of a list of tokens, over all its lines.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// The authority-form (RFC 9112 §3.2.3).
fn authority(target: &str) -> Option<Uri> {
    target.parse::<Authority>().ok().map(Uri::from)
}

/// The origin-form with the host that it goes to, or the absolute-form (RFC 9112 §3.2).
fn resource(target: &str, headers: &HeaderMap) -> Option<Uri> {
    if !target.starts_with('/') {
        return target.parse().ok();
    }
    let host = headers.get(HOST)?.as_bytes();
    Uri::builder().scheme(Scheme::HTTPS).authority(host).path_and_query(target).build().ok()
}

/// An answer that opens a tunnel: 101 to an Upgrade (RFC 9298 §3.3), 200 to a method.
pub(crate) fn accepted(response: &Response<()>, protocol: Protocol) -> String {
    match protocol.upgrade() {
        Some(token) => {
            let upgrade = format!("connection: upgrade\r\nupgrade: {token}\r\n");
            written("101 Switching Protocols", response.headers(), &upgrade)
        }
        None => written("200 OK", response.headers(), ""),
    }
}

/// An answer that opens nothing.
pub(crate) fn refused(response: &Response<()>, keep_alive: bool) -> String {
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let rest = format!("content-length: 0\r\nconnection: {connection}\r\n");
    written(&response.status().to_string(), response.headers(), &rest)
}

/// An answer with a body, which is the last on its connection.
pub(crate) fn with_body(headers: &HeaderMap, body: &str) -> String {
    let rest = format!("content-length: {}\r\nconnection: close\r\n", body.len());
    written("200 OK", headers, &rest) + body
}

fn written(status: &str, headers: &HeaderMap, rest: &str) -> String {
    let mut head = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in headers {
        // Our own fields are printable.
        let _ = write!(head, "{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    head + rest + "\r\n"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The method, the URI, the extended CONNECT, and whether the connection persists; or the status.
    fn parsed(head: &str) -> Result<String, u16> {
        let (parsed, length) = parse(head.as_bytes())
            .map_err(|refusal| refusal.status().as_u16())?
            .expect("a whole head");
        assert_eq!(length, head.len());
        let request = parsed.request;
        let extended = request.extensions().get::<ExtendedConnect>();
        let extended = extended.map_or("none", ExtendedConnect::as_str);
        Ok(format!("{} {} {extended} {}", request.method(), request.uri(), parsed.keep_alive))
    }

    #[test]
    fn tunnels_are_recognised_in_all_their_forms() {
        for (head, expected) in [
            ("CONNECT a.test:1 HTTP/1.1\r\nHost: a.test:1\r\n\r\n", "CONNECT a.test:1 none false"),
            ("CONNECT [::1]:1 HTTP/1.0\r\n\r\n", "CONNECT [::1]:1 none false"),
            (
                "CONNECT-UDP masque://a.test:1/ HTTP/1.1\r\nHost: a.test:1\r\n\r\n",
                "CONNECT-UDP masque://a.test:1/ none false",
            ),
            (
                "GET /m/a/1/?x HTTP/1.1\r\nHost: p.test\r\nConnection: keep-alive, Upgrade\r\n\
                 Upgrade: Connect-UDP\r\n\r\n",
                "CONNECT https://p.test/m/a/1/?x connect-udp true",
            ),
            (
                "GET https://q.test/m HTTP/1.1\r\nHost: p.test\r\nConnection: close\r\n\
                 connection: upgrade\r\nUpgrade: connect-tcp\r\n\r\n",
                "CONNECT https://q.test/m connect-tcp false",
            ),
        ] {
            assert_eq!(parsed(head).as_deref(), Ok(expected), "{head}");
        }
    }

    #[test]
    fn what_asks_for_no_upgrade_is_a_plain_request() {
        for head in [
            "GET /m HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: connect-udp\r\n\r\n",
            "GET /m HTTP/1.1\r\nHost: p\r\nUpgrade: connect-udp\r\n\r\n",
            "POST /m HTTP/1.1\r\nHost: p\r\nConnection: upgrade\r\nUpgrade: connect-udp\r\n\r\n",
        ] {
            assert!(parsed(head).unwrap().contains(" none "), "{head}");
        }
    }

    #[test]
    fn doubtful_heads_are_refused() {
        let long = format!("GET / HTTP/1.1\r\nHost: p\r\nX: {}", "x".repeat(MAX_HEAD));
        let many = format!("GET / HTTP/1.1\r\nHost: p\r\n{}\r\n", "X: x\r\n".repeat(MAX_FIELDS));
        for (head, status) in [
            ("CONNECT a.test:1 HTTP/1.1\r\n\r\n", 400),
            ("CONNECT a.test:1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            ("CONNECT http://a.test:1/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("CONNECT a.test:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400),
            ("GET /\r\n\r\n", 400),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
            (&long, 431),
            (&many, 431),
        ] {
            assert_eq!(parsed(head), Err(status), "{head:.60}");
        }
    }

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let head = b"CONNECT a.test:1 HTTP/1.1\r\nHost: a.test:1\r\n\r\n";
        for length in 0..head.len() {
            assert!(parse(&head[..length]).unwrap().is_none(), "{length}");
        }
        let (_, length) = parse(&[&head[..], b"early"].concat()).unwrap().unwrap();
        assert_eq!(length, head.len());
    }

    proptest! {
        #[test]
        fn hostile_heads_never_panic(bytes: Vec<u8>, fields in "[ -~\r\n]{0,200}") {
            let _ = parse(&bytes);
            let _ = parse(format!("GET /x HTTP/1.1\r\nHost: p\r\n{fields}\r\n\r\n").as_bytes());
            let _ = parse(format!("{fields} HTTP/1.1\r\nHost: p\r\n\r\n").as_bytes());
        }
    }
}
