//! What a proxy's answer means.

use futures::FutureExt as _;
use h2::{Reason, RecvStream};
use http::header::{
    CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, RETRY_AFTER, SERVER,
    UPGRADE, VIA, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use pseudotcp_masque::proxy_status::{FIELD_NAME, ProxyStatus};
use pseudotcp_masque::{Answer, OpenError, Target};

use super::message::Dialect;
use crate::auth::secrets;
use crate::config::HalfClose;
use crate::http1::{ExchangeError, ResponseHead};

/// Why one try came to nothing.
pub(super) enum Failure {
    /// The proxy did not act on it, so that it may be tried on another connection.
    Unprocessed(OpenError),
    /// The proxy does not know the dialect.
    Foreign(OpenError),
    /// The proxy wants other credentials, and says which.
    Challenged {
        origin: bool,
        challenge: Option<String>,
        error: OpenError,
    },
    Final(OpenError),
}

impl Failure {
    pub(super) fn into_error(self) -> OpenError {
        match self {
            Self::Unprocessed(error)
            | Self::Foreign(error)
            | Self::Challenged { error, .. }
            | Self::Final(error) => error,
        }
    }
}

/// The proxy does not offer extended CONNECT.
#[derive(Debug, thiserror::Error)]
#[error("the proxy does not offer connect-udp (no SETTINGS_ENABLE_CONNECT_PROTOCOL)")]
struct NoExtendedConnect;

pub(super) fn no_extended_connect() -> Failure {
    Failure::Foreign(OpenError::Protocol(NoExtendedConnect.into()))
}

/// The proxy answered an Upgrade as if it were a plain request.
#[derive(Debug, thiserror::Error)]
#[error("the proxy does not upgrade (status {0})")]
struct NoUpgrade(u16);

/// What was asked for, as far as the answer's meaning depends on it.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) dialect: Dialect,
    pub(super) target: &'a Target,
    /// The fields of the request, whose secrets no answer may spread.
    pub(super) headers: &'a HeaderMap,
}

impl Question<'_> {
    /// The fields of a response over HTTP/2 that opens the flow.
    pub(super) fn judge(
        self,
        response: Response<RecvStream>,
    ) -> Result<(HeaderMap, RecvStream), Failure> {
        let (head, mut body) = response.into_parts();
        if head.status.is_success() {
            return Ok((head.headers, body));
        }
        // Nobody waits for words: what has come with the head is enough.
        let text = body.data().now_or_never().and_then(|data| data?.ok()).unwrap_or_default();
        Err(self.refusal(Answer::new(head.status.as_u16()), &head.headers, &text))
    }

    /// The fields of a response of HTTP/1.1 that opens the flow; `early` is what came behind it.
    pub(super) fn judge_http1(
        self,
        head: ResponseHead,
        early: &[u8],
    ) -> Result<HeaderMap, Failure> {
        let upgrade = match self.dialect {
            Dialect::Connect | Dialect::ConnectUdpDraft03 => None,
            Dialect::ConnectTcp => Some("connect-tcp"),
            Dialect::ConnectUdp => Some("connect-udp"),
        };
        let status = head.status;
        let switched = status == StatusCode::SWITCHING_PROTOCOLS
            && upgrade.is_some_and(|token| {
                let lines = head.headers.get_all(UPGRADE).iter();
                let mut named = lines.filter_map(|line| line.to_str().ok());
                named.any(|line| line.trim().eq_ignore_ascii_case(token))
            });
        match upgrade {
            None if status.is_success() => Ok(head.headers),
            // RFC 9298 §3.3: 101 alone opens the flow.
            Some(_) if switched => Ok(head.headers),
            Some(_) if status.is_success() || status.is_informational() => {
                Err(Failure::Foreign(OpenError::Protocol(NoUpgrade(status.as_u16()).into())))
            }
            _ => {
                let answer = Answer::new(status.as_u16()).with_reason(head.reason.as_bytes());
                Err(self.refusal(answer, &head.headers, early))
            }
        }
    }

    /// The cause that a response names which does not open the flow.
    fn refusal(self, answer: Answer, headers: &HeaderMap, text: &[u8]) -> Failure {
        let lines = headers.get_all(FIELD_NAME).iter().map(HeaderValue::as_bytes);
        let proxy_status = ProxyStatus::parse(lines);
        let answer = answer.with_proxy_status(proxy_status.as_ref());
        let answer = if is_plain_text(headers) { answer.with_text(text) } else { answer };
        let answer = answer.without(secrets(self.headers).iter().map(String::as_str));
        let status = answer.status();
        let retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let error = OpenError::from_response(answer, retry_after, self.target);
        tracing::debug!(to = %self.target, %error, "the proxy refused a flow");
        if [401, 407].contains(&status) {
            let origin = status == 401;
            let field = if origin { WWW_AUTHENTICATE } else { PROXY_AUTHENTICATE };
            let challenge = headers.get(field).and_then(|value| value.to_str().ok());
            return Failure::Challenged { origin, challenge: challenge.map(str::to_owned), error };
        }
        let says_why = proxy_status.is_some_and(|status| status.error().is_some());
        if !says_why && self.dialect.is_foreign(status) {
            Failure::Foreign(error)
        } else {
            Failure::Final(error)
        }
    }
}

fn is_plain_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/plain"))
}

/// The request never left.
pub(super) fn unprocessed(error: h2::Error) -> Failure {
    Failure::Unprocessed(OpenError::ProxyGone(Some(error.into())))
}

/// The stream ended without a response.
pub(super) fn failed(dialect: Dialect, error: h2::Error) -> Failure {
    if !error.is_reset() {
        // The connection was lost, or GOAWAY left the stream out (RFC 9113 §6.8). No byte of the
        // flow has been sent yet, so that opening it once more repeats nothing.
        return unprocessed(error);
    }
    match error.reason() {
        // RFC 9113 §8.7: the request was not processed.
        Some(Reason::REFUSED_STREAM) => Failure::Unprocessed(OpenError::overloaded()),
        Some(Reason::CONNECT_ERROR) => Failure::Final(OpenError::Refused(None)),
        Some(Reason::ENHANCE_YOUR_CALM) => Failure::Final(OpenError::overloaded()),
        Some(Reason::PROTOCOL_ERROR) if dialect != Dialect::Connect => {
            Failure::Foreign(OpenError::Protocol(error.into()))
        }
        _ => Failure::Final(OpenError::Protocol(error.into())),
    }
}

/// The connection of HTTP/1.1 ended, or did not hold a response.
pub(super) fn failed_http1(error: ExchangeError) -> Failure {
    match error {
        ExchangeError::Head(_) => Failure::Final(OpenError::Protocol(error.into())),
        // No byte of the flow has been sent yet.
        ExchangeError::Closed | ExchangeError::Io(_) => {
            Failure::Unprocessed(OpenError::ProxyGone(Some(error.into())))
        }
    }
}

/// Whether this side's end of stream has to wait for the other's.
pub(super) fn defers(wanted: HalfClose, headers: &HeaderMap) -> bool {
    match wanted {
        HalfClose::Forward => false,
        HalfClose::Defer => true,
        // h2o closes both ways at our end; nghttpx keeps it to itself and hangs.
        HalfClose::Auto => {
            names(headers, SERVER, "h2o")
                || names(headers, VIA, "nghttpx")
                || names(headers, VIA, "h2o")
        }
    }
}

/// Whether the proxy loses the end of a flow whose window is full.
pub(super) fn loses_what_waits(headers: &HeaderMap) -> bool {
    names(headers, SERVER, "envoy")
}

/// Whether a field names a product.
fn names(headers: &HeaderMap, field: HeaderName, product: &str) -> bool {
    let mut lines = headers.get_all(field).iter().filter_map(|line| line.to_str().ok());
    lines.any(|line| line.to_ascii_lowercase().contains(product))
}
