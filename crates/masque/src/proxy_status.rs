//! Why a proxy failed: the Proxy-Status field (RFC 9209), read by clients and written by proxies.
//!
//! ```
//! use pseudotcp_masque::proxy_status::{ErrorType, ProxyStatus};
//!
//! let value = ProxyStatus::new(ErrorType::DnsError).with_rcode("NXDOMAIN").to_field_value("relay");
//! assert_eq!(value, r#"relay;error=dns_error;rcode="NXDOMAIN""#);
//!
//! let status = ProxyStatus::parse([value.as_bytes()]).unwrap();
//! assert_eq!(status.error(), Some(ErrorType::DnsError));
//! ```
//!
//! [`OpenError::from_response`] is the one place where a proxy's answer becomes a cause.

use std::time::Duration;

use sfv::{BareItem, KeyRef, ListEntry, ListSerializer, Parameters, Parser, StringRef, TokenRef};

use crate::{Answer, OpenError, Said, Target};

/// The field's name, lower case as HTTP/2 wants it.
pub const FIELD_NAME: &str = "proxy-status";

/// The proxy error types of RFC 9209 §2.3 that opening and carrying a flow can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorType {
    /// `dns_timeout`.
    DnsTimeout,
    /// `dns_error`.
    DnsError,
    /// `destination_not_found`.
    DestinationNotFound,
    /// `destination_unavailable`.
    DestinationUnavailable,
    /// `destination_ip_prohibited`.
    DestinationIpProhibited,
    /// `destination_ip_unroutable`.
    DestinationIpUnroutable,
    /// `connection_refused`.
    ConnectionRefused,
    /// `connection_terminated`.
    ConnectionTerminated,
    /// `connection_timeout`.
    ConnectionTimeout,
    /// `connection_read_timeout`.
    ConnectionReadTimeout,
    /// `connection_write_timeout`.
    ConnectionWriteTimeout,
    /// `connection_limit_reached`.
    ConnectionLimitReached,
    /// `http_request_error`.
    HttpRequestError,
    /// `http_request_denied`.
    HttpRequestDenied,
    /// `proxy_internal_error`.
    ProxyInternalError,
    /// `proxy_configuration_error`.
    ProxyConfigurationError,
    /// `proxy_loop_detected`.
    ProxyLoopDetected,
    /// A type that this list does not hold.
    Unknown,
}

/// Each known type with its token and the status that RFC 9209 §2.3 recommends for it.
const ERROR_TYPES: [(ErrorType, &str, u16); 17] = [
    (ErrorType::DnsTimeout, "dns_timeout", 504),
    (ErrorType::DnsError, "dns_error", 502),
    (ErrorType::DestinationNotFound, "destination_not_found", 500),
    (ErrorType::DestinationUnavailable, "destination_unavailable", 503),
    (ErrorType::DestinationIpProhibited, "destination_ip_prohibited", 502),
    (ErrorType::DestinationIpUnroutable, "destination_ip_unroutable", 502),
    (ErrorType::ConnectionRefused, "connection_refused", 502),
    (ErrorType::ConnectionTerminated, "connection_terminated", 502),
    (ErrorType::ConnectionTimeout, "connection_timeout", 504),
    (ErrorType::ConnectionReadTimeout, "connection_read_timeout", 504),
    (ErrorType::ConnectionWriteTimeout, "connection_write_timeout", 504),
    (ErrorType::ConnectionLimitReached, "connection_limit_reached", 503),
    (ErrorType::HttpRequestError, "http_request_error", 400),
    (ErrorType::HttpRequestDenied, "http_request_denied", 403),
    (ErrorType::ProxyInternalError, "proxy_internal_error", 500),
    (ErrorType::ProxyConfigurationError, "proxy_configuration_error", 500),
    (ErrorType::ProxyLoopDetected, "proxy_loop_detected", 502),
];

impl ErrorType {
    /// The HTTP status that goes with the type.
    pub fn status(self) -> u16 {
        self.entry().map_or(502, |(_, _, status)| *status)
    }

    /// Its token, as the field carries it; `unknown` for one that this list does not hold.
    pub fn name(self) -> &'static str {
        self.entry().map_or("unknown", |(_, token, _)| token)
    }

    fn token(self) -> Option<&'static TokenRef> {
        self.entry().and_then(|(_, token, _)| TokenRef::from_str(token).ok())
    }

    fn from_token(token: &str) -> Self {
        let known = ERROR_TYPES.iter().find(|(_, name, _)| *name == token);
        known.map_or(Self::Unknown, |(kind, ..)| *kind)
    }

    fn entry(self) -> Option<&'static (Self, &'static str, u16)> {
        ERROR_TYPES.iter().find(|(kind, ..)| *kind == self)
    }
}

/// What one proxy says about its handling of a request or a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyStatus {
    error: Option<ErrorType>,
    rcode: Option<String>,
    details: Option<String>,
    received_status: Option<u16>,
}

impl ProxyStatus {
    /// A status that names an error.
    pub fn new(error: ErrorType) -> Self {
        Self { error: Some(error), ..Self::default() }
    }

    /// Adds the DNS response code, such as `NXDOMAIN` (RFC 9209 §2.3.2).
    #[must_use]
    pub fn with_rcode(mut self, rcode: &str) -> Self {
        self.rcode = Some(rcode.to_owned());
        self
    }

    /// Adds words for humans; what is not printable ASCII keeps the parameter out of the field.
    #[must_use]
    pub fn with_details(mut self, details: &str) -> Self {
        self.details = Some(details.to_owned());
        self
    }

    /// The error, where there was one.
    pub fn error(&self) -> Option<ErrorType> {
        self.error
    }

    /// The DNS response code.
    pub fn rcode(&self) -> Option<&str> {
        self.rcode.as_deref()
    }

    /// The proxy's own words; printable ASCII, but not to be trusted.
    pub fn details(&self) -> Option<&str> {
        self.details.as_deref()
    }

    /// The status that the proxy received from the next hop.
    pub fn received_status(&self) -> Option<u16> {
        self.received_status
    }

    /// The same, with all words made short.
    pub(crate) fn shortened(&self, shorten: impl Fn(&str) -> String) -> Self {
        let (rcode, details) = (self.rcode().map(&shorten), self.details().map(&shorten));
        Self { rcode, details, ..*self }
    }

    /// Reads the field's lines. Of several proxies the one nearest to the target that names an error
    /// counts, else the nearest one. `None` for a field that is empty or malformed.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let field = lines.into_iter().collect::<Vec<_>>().join(&b", "[..]);
        let list = Parser::new(&field).parse::<sfv::List>().ok()?;
        // RFC 9209 §2: the first member is the proxy nearest to the origin.
        let mut members = list.iter().filter_map(|entry| match entry {
            ListEntry::Item(item) => Some(Self::from_params(&item.params)),
            ListEntry::InnerList(_) => None,
        });
        let nearest = members.next()?;
        if nearest.error.is_some() {
            return Some(nearest);
        }
        members.find(|status| status.error.is_some()).or(Some(nearest))
    }

    /// The field's value, as a proxy of the given name writes it.
    pub fn to_field_value(&self, proxy_name: &str) -> String {
        let mut list = ListSerializer::new();
        let mut item =
            list.bare_item(TokenRef::from_str(proxy_name).unwrap_or(TokenRef::constant("proxy")));
        if let Some(token) = self.error.and_then(ErrorType::token) {
            item = item.parameter(KeyRef::constant("error"), token);
        }
        for (key, text) in [
            (KeyRef::constant("rcode"), self.rcode()),
            (KeyRef::constant("details"), self.details()),
        ] {
            if let Some(text) = text.and_then(|text| StringRef::from_str(text).ok()) {
                item = item.parameter(key, text);
            }
        }
        list.finish().unwrap_or_default()
    }

    fn from_params(params: &Parameters) -> Self {
        let text = |key| Some(params.get(key)?.as_string()?.as_str().to_owned());
        let error = params.get("error").and_then(BareItem::as_token);
        let received = params.get("received-status").and_then(BareItem::as_integer);
        Self {
            error: error.map(|token| ErrorType::from_token(token.as_str())),
            rcode: text("rcode"),
            details: text("details"),
            received_status: received.and_then(|status| u16::try_from(status).ok()),
        }
    }
}

/// The proxy answered an open in a way that names no cause.
#[derive(Debug, thiserror::Error)]
#[error("the proxy answered {0}")]
struct UnexpectedAnswer(Answer);

impl OpenError {
    /// The cause that a proxy's answer other than 2xx stands for.
    ///
    /// `retry_after` is the response's field of this name, where present; its value counts in its form
    /// of seconds only.
    pub fn from_response(answer: Answer, retry_after: Option<&str>, target: &Target) -> Self {
        let seconds = retry_after.and_then(|value| value.trim().parse().ok());
        let delay = seconds.map(Duration::from_secs);
        let overloaded = |said| Self::Overloaded { retry_after: delay, said };
        let error = answer.proxy_status().and_then(ProxyStatus::error);
        let named = error.and_then(|error| Self::from_error_type(error, target));
        let is_full = error == Some(ErrorType::ConnectionLimitReached);
        let said = Box::new(answer);
        match (said.status(), named) {
            (401 | 407, _) => Self::Unauthenticated(Some(said)),
            (429, _) => overloaded(Some(said)),
            (_, Some(cause)) => cause(Some(said)),
            (403, None) => Self::Denied(Some(said)),
            (503, None) if is_full || retry_after.is_some() => overloaded(Some(said)),
            (502 | 503, None) => Self::ConnectFailed(Some(said)),
            (504, None) => Self::TimedOut(Some(said)),
            _ => Self::Protocol(Box::new(UnexpectedAnswer(*said))),
        }
    }

    /// The cause that an error type names by itself, whatever the status.
    fn from_error_type(error: ErrorType, target: &Target) -> Option<fn(Said) -> Self> {
        Some(match error {
            ErrorType::ConnectionRefused => Self::Refused,
            ErrorType::DestinationIpUnroutable if target.is_ipv6() => Self::NoIpv6,
            ErrorType::DestinationIpUnroutable
            | ErrorType::DestinationUnavailable
            | ErrorType::DestinationNotFound => Self::Unreachable,
            ErrorType::DnsError | ErrorType::DnsTimeout => Self::Unresolved,
            ErrorType::ConnectionTimeout => Self::TimedOut,
            ErrorType::DestinationIpProhibited | ErrorType::HttpRequestDenied => Self::Denied,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(field: &str) -> Option<ProxyStatus> {
        ProxyStatus::parse([field.as_bytes()])
    }

    /// The name of the cause, and for how long the proxy is overloaded.
    fn cause(status: u16, field: &str, retry_after: Option<&str>, target: &str) -> String {
        let answer = Answer::new(status).with_proxy_status(parse(field).as_ref());
        let target = Target::host(target, 443);
        let error = OpenError::from_response(answer.clone(), retry_after, &target);
        assert!(error.to_string().contains(&answer.to_string()), "{error}");
        match error {
            OpenError::Overloaded { retry_after, .. } => format!("Overloaded {retry_after:?}"),
            error => format!("{error:?}").split('(').next().unwrap_or_default().to_owned(),
        }
    }

    #[test]
    fn every_error_type_is_written_and_read() {
        for (kind, token, _) in ERROR_TYPES {
            let value = ProxyStatus::new(kind).to_field_value("relay");
            assert_eq!(value, format!("relay;error={token}"));
            assert_eq!(parse(&value).unwrap().error(), Some(kind));
        }
    }

    #[test]
    fn all_parameters_are_read() {
        let status = parse(
            r#"h2o; error=connection_refused; rcode="NXDOMAIN"; next-hop="127.0.0.1";
               details="no \"one\" there"; received-status=404"#
                .replace('\n', " ")
                .as_str(),
        )
        .unwrap();
        assert_eq!(status.error(), Some(ErrorType::ConnectionRefused));
        assert_eq!(status.rcode(), Some("NXDOMAIN"));
        assert_eq!(status.details(), Some("no \"one\" there"));
        assert_eq!(status.received_status(), Some(404));
    }

    #[test]
    fn the_error_nearest_to_the_target_counts() {
        let lines: [&[u8]; 2] = [b"a, b;error=dns_error", b"\"c\";error=connection_refused"];
        assert_eq!(ProxyStatus::parse(lines).unwrap().error(), Some(ErrorType::DnsError));
    }

    #[test]
    fn odd_fields_say_nothing_and_break_nothing() {
        assert_eq!(parse(""), None);
        assert_eq!(parse("a;error=\"oops"), None);
        assert_eq!(parse("(a b);error=dns_error"), None);
        assert_eq!(parse("a;error=novel").unwrap().error(), Some(ErrorType::Unknown));
        assert_eq!(parse("a;error=7;received-status=-1"), Some(ProxyStatus::default()));
    }

    #[test]
    fn what_cannot_be_written_is_left_out() {
        let status = ProxyStatus::new(ErrorType::DnsError).with_details("line\r\nbreak");
        assert_eq!(status.to_field_value("not a token"), "proxy;error=dns_error");
    }

    #[test]
    fn answers_become_causes() {
        for (status, field, retry_after, target, expected) in [
            (502, "p;error=connection_refused", None, "192.0.2.1", "Refused"),
            (503, "p;error=destination_unavailable", None, "192.0.2.1", "Unreachable"),
            (502, "p;error=destination_ip_unroutable", None, "192.0.2.1", "Unreachable"),
            (502, "p;error=destination_ip_unroutable", None, "2001:db8::1", "NoIpv6"),
            (502, "p;error=destination_ip_unroutable", None, "name.example", "Unreachable"),
            (502, "p;error=dns_error", None, "name.example", "Unresolved"),
            (504, "p;error=dns_timeout", None, "name.example", "Unresolved"),
            (504, "p;error=connection_timeout", None, "192.0.2.1", "TimedOut"),
            (504, "", None, "192.0.2.1", "TimedOut"),
            (502, "p;error=destination_ip_prohibited", None, "192.0.2.1", "Denied"),
            (403, "p;error=http_request_denied", None, "192.0.2.1", "Denied"),
            (403, "", None, "192.0.2.1", "Denied"),
            (401, "", None, "192.0.2.1", "Unauthenticated"),
            (407, "p;error=http_request_denied", None, "192.0.2.1", "Unauthenticated"),
            (429, "", Some("7"), "192.0.2.1", "Overloaded Some(7s)"),
            (503, "", Some("2"), "192.0.2.1", "Overloaded Some(2s)"),
            (503, "", Some("Fri, 31 Dec 1999"), "192.0.2.1", "Overloaded None"),
            (503, "p;error=connection_limit_reached", None, "192.0.2.1", "Overloaded None"),
            (502, "", None, "192.0.2.1", "ConnectFailed"),
            (503, "p;error=novel", None, "192.0.2.1", "ConnectFailed"),
            (500, "", None, "192.0.2.1", "Protocol"),
        ] {
            assert_eq!(cause(status, field, retry_after, target), expected, "{status} {field}");
        }
    }

    proptest! {
        #[test]
        fn hostile_fields_never_panic(lines: Vec<Vec<u8>>, status: u16, retry_after: String) {
            let parsed = ProxyStatus::parse(lines.iter().map(Vec::as_slice));
            let target = Target::host("name.example", 443);
            let answer = Answer::new(status).with_proxy_status(parsed.as_ref());
            let _ = OpenError::from_response(answer, Some(&retry_after), &target);
        }

        #[test]
        fn what_is_written_is_read(rcode in "[ -~]{0,20}", details in "[ -~]{0,40}") {
            let status =
                ProxyStatus::new(ErrorType::DnsError).with_rcode(&rcode).with_details(&details);
            prop_assert_eq!(parse(&status.to_field_value("relay")), Some(status));
        }
    }
}
