//! How the proxy says no: a status that any client understands, and a Proxy-Status (RFC 9209) that
//! names the cause.

use std::io;

use http::header::{
    ALLOW, HeaderName, HeaderValue, PROXY_AUTHENTICATE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use nix::errno::Errno;
use pseudotcp_masque::proxy_status::{ErrorType, FIELD_NAME, ProxyStatus};

use crate::auth::Auth;

/// The name under which the proxy speaks in Proxy-Status.
const PROXY_NAME: &str = "pseudotcp";

/// After how many seconds a client may ask again that met a limit.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// A request's answer that is not a tunnel.
#[derive(Debug)]
pub(crate) struct Refusal {
    response: Response<()>,
    error: Option<ErrorType>,
}

impl Refusal {
    fn new(status: StatusCode, cause: &ProxyStatus) -> Self {
        let mut response = Response::new(());
        *response.status_mut() = status;
        let refusal = Self { response, error: cause.error() };
        match HeaderValue::try_from(cause.to_field_value(PROXY_NAME)) {
            Ok(value) => refusal.with(HeaderName::from_static(FIELD_NAME), value),
            Err(_) => refusal,
        }
    }

    /// An error with the status that RFC 9209 §2.3 recommends for it.
    fn of(error: ErrorType) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_GATEWAY);
        Self::with_status(status, error)
    }

    fn with_status(status: StatusCode, error: ErrorType) -> Self {
        Self::new(status, &ProxyStatus::new(error))
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.response.headers_mut().append(name, value);
        self
    }

    /// The request itself makes no sense.
    pub(crate) fn bad_request(details: &str) -> Self {
        let cause = ProxyStatus::new(ErrorType::HttpRequestError).with_details(details);
        Self::new(StatusCode::BAD_REQUEST, &cause)
    }

    /// No such resource: the proxy serves its template only.
    pub(crate) fn not_found() -> Self {
        Self::with_status(StatusCode::NOT_FOUND, ErrorType::HttpRequestError)
    }

    /// RFC 9110 §15.5.6: 405 names what would be allowed.
    pub(crate) fn method_not_allowed(allowed: &'static str) -> Self {
        Self::with_status(StatusCode::METHOD_NOT_ALLOWED, ErrorType::HttpRequestError)
            .with(ALLOW, HeaderValue::from_static(allowed))
    }

    /// A method or a protocol that the proxy does not know (RFC 8441 §4 leads here, too).
    pub(crate) fn not_implemented() -> Self {
        Self::with_status(StatusCode::NOT_IMPLEMENTED, ErrorType::HttpRequestError)
    }

    /// RFC 6585 §5: the head of the request is larger than we read.
    pub(crate) fn head_too_large() -> Self {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        Self::with_status(status, ErrorType::HttpRequestError)
    }

    /// A version of HTTP that the proxy does not speak.
    pub(crate) fn version_not_supported() -> Self {
        Self::with_status(StatusCode::HTTP_VERSION_NOT_SUPPORTED, ErrorType::HttpRequestError)
    }

    /// The request did not come whole in time.
    pub(crate) fn request_timeout() -> Self {
        Self::with_status(StatusCode::REQUEST_TIMEOUT, ErrorType::HttpRequestError)
    }

    /// Credentials are missing or wrong: a proxy says 407, an origin 401.
    pub(crate) fn unauthenticated(auth: &Auth, by_origin: bool) -> Self {
        let (status, field) = if by_origin {
            (StatusCode::UNAUTHORIZED, WWW_AUTHENTICATE)
        } else {
            (StatusCode::PROXY_AUTHENTICATION_REQUIRED, PROXY_AUTHENTICATE)
        };
        let refusal = Self::with_status(status, ErrorType::HttpRequestDenied);
        auth.challenges().fold(refusal, |refusal, value| refusal.with(field.clone(), value))
    }

    /// The policy forbids the target's address. DEVIATION: RFC 9209 §2.3.5 recommends 502, but 403
    /// says it to clients that do not know Proxy-Status.
    pub(crate) fn prohibited() -> Self {
        Self::with_status(StatusCode::FORBIDDEN, ErrorType::DestinationIpProhibited)
    }

    /// The server's limit is reached: ask again soon.
    pub(crate) fn overloaded() -> Self {
        Self::of(ErrorType::ConnectionLimitReached).with(RETRY_AFTER, RETRY_SECONDS)
    }

    /// The client's own limit is reached: ask again when a tunnel has ended (RFC 6585 §4).
    pub(crate) fn too_many() -> Self {
        let status = StatusCode::TOO_MANY_REQUESTS;
        Self::with_status(status, ErrorType::ConnectionLimitReached)
            .with(RETRY_AFTER, RETRY_SECONDS)
    }

    /// The target's name has no address; `rcode` where the resolver told it.
    pub(crate) fn unresolved(rcode: Option<&str>) -> Self {
        let cause = ProxyStatus::new(ErrorType::DnsError);
        let cause = match rcode {
            Some(rcode) => cause.with_rcode(rcode),
            None => cause,
        };
        Self::new(StatusCode::BAD_GATEWAY, &cause)
    }

    /// The resolver did not answer in time.
    pub(crate) fn resolver_timeout() -> Self {
        Self::of(ErrorType::DnsTimeout)
    }

    /// The target did not answer in time.
    pub(crate) fn connect_timeout() -> Self {
        Self::of(ErrorType::ConnectionTimeout)
    }

    /// What a failed connect(2) means.
    pub(crate) fn of_connect(error: &io::Error) -> Self {
        match error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw) {
            Errno::ECONNREFUSED => Self::of(ErrorType::ConnectionRefused),
            Errno::ECONNRESET | Errno::ECONNABORTED => Self::of(ErrorType::ConnectionTerminated),
            Errno::EHOSTUNREACH | Errno::EHOSTDOWN => Self::of(ErrorType::DestinationUnavailable),
            Errno::ENETUNREACH | Errno::EADDRNOTAVAIL | Errno::EAFNOSUPPORT => {
                Self::of(ErrorType::DestinationIpUnroutable)
            }
            Errno::ETIMEDOUT => Self::connect_timeout(),
            Errno::EACCES | Errno::EPERM => Self::prohibited(),
            Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => Self::overloaded(),
            _ => Self::of(ErrorType::ProxyInternalError),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The name of the cause (RFC 9209 §2.3).
    pub(crate) fn error(&self) -> &'static str {
        self.error.map_or("unknown", ErrorType::name)
    }

    /// The answer, which has no body.
    pub(crate) fn into_response(self) -> Response<()> {
        self.response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_connect(errno: Errno) -> (u16, String) {
        let refusal = Refusal::of_connect(&io::Error::from(errno));
        let cause = refusal.response.headers()[FIELD_NAME].to_str().unwrap().to_owned();
        (refusal.status().as_u16(), cause)
    }

    #[test]
    fn errors_of_connect_are_told_apart() {
        for (errno, status, error) in [
            (Errno::ECONNREFUSED, 502, "connection_refused"),
            (Errno::ECONNRESET, 502, "connection_terminated"),
            (Errno::EHOSTUNREACH, 503, "destination_unavailable"),
            (Errno::ENETUNREACH, 502, "destination_ip_unroutable"),
            (Errno::EADDRNOTAVAIL, 502, "destination_ip_unroutable"),
            (Errno::ETIMEDOUT, 504, "connection_timeout"),
            (Errno::EACCES, 403, "destination_ip_prohibited"),
            (Errno::EMFILE, 503, "connection_limit_reached"),
            (Errno::EIO, 500, "proxy_internal_error"),
        ] {
            assert_eq!(of_connect(errno), (status, format!("pseudotcp;error={error}")), "{errno}");
        }
    }

    #[test]
    fn a_limit_tells_when_to_come_again() {
        assert_eq!(Refusal::overloaded().response.headers()[RETRY_AFTER], "1");
    }
}
