//! CONNECT (RFC 9113 §8.5) and extended CONNECT (RFC 8441): the request and what comes of it.

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::header::{HeaderValue, RETRY_AFTER};
use http::uri::{Authority, Parts, Uri};
use http::{Method, Request, Response};
use pseudotcp_masque::proxy_status::{FIELD_NAME, ProxyStatus};
use pseudotcp_masque::{OpenError, OpenRequest, Target};
use tokio::time::{Instant, timeout_at};

use crate::connection::Permit;
use crate::pool::{Pool, Slot, Wish};
use crate::state::count;

/// How often one flow is tried, each time on another connection.
const TRIES: usize = 3;

/// An accepted request: its stream, both ways, and its place on the connection.
pub(crate) struct Accepted {
    pub(crate) permit: Permit,
    pub(crate) send: SendStream<Bytes>,
    pub(crate) recv: RecvStream,
}

/// The proxy does not offer extended CONNECT.
#[derive(Debug, thiserror::Error)]
#[error("the proxy does not offer connect-udp (no SETTINGS_ENABLE_CONNECT_PROTOCOL)")]
struct NoExtendedConnect;

/// A target that no request can name.
#[derive(Debug, thiserror::Error)]
#[error("the target's name cannot be written in a request")]
struct Unwritable;

/// Why one try came to nothing.
enum Failure {
    /// The proxy did not act on it, so that it may be tried on another connection.
    Unprocessed(OpenError),
    Final(OpenError),
}

/// Asks for a TCP flow.
pub(crate) async fn connect_tcp(pool: &Pool, request: &OpenRequest) -> Result<Accepted, OpenError> {
    let mut http = tcp_request(&request.target)?;
    pool.config().headers.append_to(http.headers_mut());
    open(pool, request, http).await
}

/// Asks for a UDP flow.
pub(crate) async fn connect_udp(pool: &Pool, request: &OpenRequest) -> Result<Accepted, OpenError> {
    let uri = pool.config().udp_template.expand(&request.target);
    let mut http = udp_request(&uri)?;
    pool.config().headers.append_to(http.headers_mut());
    open(pool, request, http).await
}

async fn open(
    pool: &Pool,
    request: &OpenRequest,
    http: Request<()>,
) -> Result<Accepted, OpenError> {
    let opened = open_by(pool, request, &http, deadline(pool, request)).await;
    let counter = match &opened {
        Ok(_) => &pool.counters.flows_opened,
        Err(_) => &pool.counters.flows_refused,
    };
    count(counter, 1);
    opened
}

fn deadline(pool: &Pool, request: &OpenRequest) -> Instant {
    let own = Instant::now() + pool.config().open_timeout;
    request.deadline.map_or(own, |deadline| own.min(deadline.into()))
}

async fn open_by(
    pool: &Pool,
    request: &OpenRequest,
    http: &Request<()>,
    deadline: Instant,
) -> Result<Accepted, OpenError> {
    let low_latency =
        pool.config().low_latency.as_ref().is_some_and(|holds| holds(&request.target));
    let mut wish = Wish { avoided: None, low_latency };
    let mut tries = 0;
    loop {
        let slot = pool.acquire(wish, deadline).await?;
        let id = slot.permit.link().id;
        let tried = timeout_at(deadline, exchange(slot, http.clone(), &request.target)).await;
        tries += 1;
        match tried {
            Ok(Ok(accepted)) => return Ok(accepted),
            Ok(Err(Failure::Unprocessed(_))) if tries < TRIES => {
                count(&pool.counters.opens_retried, 1);
                wish.avoided = Some(id);
            }
            Ok(Err(Failure::Unprocessed(error) | Failure::Final(error))) => return Err(error),
            Err(_) => return Err(OpenError::TimedOut),
        }
    }
}

/// One request, one response. Dropped midway it resets its stream.
async fn exchange(slot: Slot, http: Request<()>, target: &Target) -> Result<Accepted, Failure> {
    let Slot { send: handle, permit } = slot;
    if http.extensions().get::<Protocol>().is_some() && !permit.link().extended_connect() {
        return Err(Failure::Final(OpenError::Protocol(NoExtendedConnect.into())));
    }
    let mut handle = handle.ready().await.map_err(unprocessed)?;
    let (response, send) = handle.send_request(http, false).map_err(unprocessed)?;
    drop::<SendRequest<Bytes>>(handle);
    let response = response.await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(Failure::Final(refusal(&response, target)));
    }
    Ok(Accepted { permit, send, recv: response.into_body() })
}

/// The cause that a response other than 2xx names.
fn refusal(response: &Response<RecvStream>, target: &Target) -> OpenError {
    let headers = response.headers();
    let lines = headers.get_all(FIELD_NAME).iter().map(HeaderValue::as_bytes);
    let proxy_status = ProxyStatus::parse(lines);
    let retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let status = response.status().as_u16();
    OpenError::from_response(status, proxy_status.as_ref(), retry_after, target)
}

/// The request never left.
fn unprocessed(error: h2::Error) -> Failure {
    Failure::Unprocessed(OpenError::ProxyGone(Some(error.into())))
}

/// The stream ended without a response.
fn failed(error: h2::Error) -> Failure {
    if !error.is_reset() {
        // The connection was lost, or GOAWAY left the stream out (RFC 9113 §6.8). No byte of the
        // flow has been sent yet, so that opening it once more repeats nothing.
        return unprocessed(error);
    }
    match error.reason() {
        // RFC 9113 §8.7: the request was not processed.
        Some(Reason::REFUSED_STREAM) => {
            Failure::Unprocessed(OpenError::Overloaded { retry_after: None })
        }
        Some(Reason::CONNECT_ERROR) => Failure::Final(OpenError::Refused),
        Some(Reason::ENHANCE_YOUR_CALM) => {
            Failure::Final(OpenError::Overloaded { retry_after: None })
        }
        _ => Failure::Final(OpenError::Protocol(error.into())),
    }
}

/// RFC 9113 §8.5: a method and an authority, nothing else.
fn tcp_request(target: &Target) -> Result<Request<()>, OpenError> {
    let authority = Authority::try_from(target.to_string()).map_err(|_| unwritable())?;
    let host = authority.host();
    // RFC 9110 §9.3.6: a host and a port, nothing else.
    if host.is_empty() || authority.as_str() != format!("{host}:{}", target.port()) {
        return Err(unwritable());
    }
    let mut parts = Parts::default();
    parts.authority = Some(authority);
    let uri = Uri::from_parts(parts).map_err(|_| unwritable())?;
    request(uri)
}

/// RFC 9298 §3.4: an extended CONNECT whose body is capsules.
fn udp_request(uri: &str) -> Result<Request<()>, OpenError> {
    let mut request = request(Uri::try_from(uri).map_err(|_| unwritable())?)?;
    request.extensions_mut().insert(Protocol::from_static("connect-udp"));
    request.headers_mut().insert("capsule-protocol", HeaderValue::from_static("?1"));
    Ok(request)
}

fn request(uri: Uri) -> Result<Request<()>, OpenError> {
    Request::builder()
        .method(Method::CONNECT)
        .uri(uri)
        .body(())
        .map_err(|error| OpenError::Protocol(error.into()))
}

fn unwritable() -> OpenError {
    OpenError::Protocol(Unwritable.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp_uri(host: &str) -> Option<String> {
        tcp_request(&Target::host(host, 443)).ok().map(|r| r.uri().to_string())
    }

    #[test]
    fn tcp_requests_name_host_and_port_alone() {
        assert_eq!(tcp_uri("example.org").unwrap(), "example.org:443");
        assert_eq!(tcp_uri("192.0.2.1").unwrap(), "192.0.2.1:443");
        assert_eq!(tcp_uri("2001:db8::1").unwrap(), "[2001:db8::1]:443");
        for bad in ["", "a b", "a/b", "u@h", "a:1", "h\r\nx", "ü"] {
            assert_eq!(tcp_uri(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn udp_requests_are_extended_connects() {
        let request = udp_request("https://p.example/masque?h=192.0.2.1&p=53").unwrap();
        assert_eq!(request.extensions().get::<Protocol>().unwrap().as_str(), "connect-udp");
        assert_eq!(request.headers()["capsule-protocol"], "?1");
        assert_eq!(request.method(), Method::CONNECT);
    }
}
