//! How a flow is asked for, and what comes of it.
//!
//! ```text
//!   ladder: which dialect ──▶ credentials ──▶ a slot of the pool ──▶ exchange ──▶ answer
//!      ▲ not known to the proxy      ▲ 401, 407, once  ▲ not processed, elsewhere    │
//!      └─────────────────────────────┴─────────────────┴─────────────────────────────┘
//! ```

mod answer;
mod early;
mod ladder;
mod message;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::header::{AUTHORIZATION, HeaderMap, PROXY_AUTHORIZATION};
use http::{HeaderValue, Request};
use pseudotcp_masque::io::IoTunnel;
use pseudotcp_masque::{ByteTunnel, DatagramTunnel, OpenError, OpenRequest};
use tokio::time::{Instant, timeout_at};

pub(crate) use self::ladder::Memory;

use self::answer::{
    Failure, Question, defers, failed, failed_http1, loses_what_waits, no_extended_connect,
    unprocessed,
};
use self::ladder::Ladder;
use self::message::Dialect;
use crate::connection::Permit;
use crate::dial::BoxIo;
use crate::http1::{Http1, Place, exchange};
use crate::pool::{Http2Slot, Pool, Slot, Wish};
use crate::state::count;
use crate::tunnel::{Datagrams, TcpCapsules, Tunnel, UdpCapsules};

/// How often one flow is tried, each time on another connection.
const TRIES: usize = 3;

/// An accepted request: its stream, both ways, and its place on the connection.
pub(crate) struct Accepted {
    pub(crate) permit: Permit,
    pub(crate) send: SendStream<Bytes>,
    pub(crate) recv: RecvStream,
}

/// What carries an open flow.
enum Carrier {
    Http2(Accepted),
    Http1 { io: BoxIo, early: Bytes, place: Place },
}

/// An open flow, and how the proxy said so.
struct Opened {
    dialect: Dialect,
    headers: HeaderMap,
    carrier: Carrier,
}

/// Opens a TCP flow.
pub(crate) async fn open_tcp(pool: &Pool, request: &OpenRequest) -> Result<ByteTunnel, OpenError> {
    let ladder = Ladder::tcp(pool.config().tcp_dialect, &pool.memory);
    let opened = counted(pool, open(pool, request, ladder).await)?;
    let capsules = opened.dialect == Dialect::ConnectTcp;
    let defer = !capsules && defers(pool.config().half_close, &opened.headers);
    if let Carrier::Http2(accepted) = &opened.carrier
        && loses_what_waits(&opened.headers)
    {
        pool.memory.want_large_windows();
        accepted.permit.link().want_large_windows();
    }
    let bytes = bytes(opened.carrier, defer);
    Ok(if capsules { Box::new(TcpCapsules::new(bytes)) } else { bytes })
}

/// Opens a UDP flow.
pub(crate) async fn open_udp(
    pool: &Arc<Pool>,
    request: &OpenRequest,
) -> Result<DatagramTunnel, OpenError> {
    if let Some(tunnel) = early::open_udp(pool, request).await? {
        return Ok(tunnel);
    }
    let ladder = Ladder::udp(pool.config().udp_dialect, &pool.memory);
    let opened = counted(pool, open(pool, request, ladder).await)?;
    let (format, counters) = (opened.dialect.format(), Arc::clone(&pool.counters));
    Ok(match opened.carrier {
        Carrier::Http2(accepted) => {
            pool.memory.be_sure_of_udp(opened.dialect == Dialect::ConnectUdp);
            Box::new(Datagrams::new(accepted, format, counters))
        }
        http1 @ Carrier::Http1 { .. } => {
            Box::new(UdpCapsules::new(bytes(http1, false), format, counters))
        }
    })
}

fn bytes(carrier: Carrier, defer: bool) -> ByteTunnel {
    match carrier {
        Carrier::Http2(accepted) => Box::new(Tunnel::new(accepted, defer)),
        Carrier::Http1 { io, early, place } => Box::new(IoTunnel::new(Http1 { io, place }, early)),
    }
}

fn counted<T>(pool: &Pool, opened: Result<T, OpenError>) -> Result<T, OpenError> {
    let counter = match &opened {
        Ok(_) => &pool.counters.flows_opened,
        Err(_) => &pool.counters.flows_refused,
    };
    count(counter, 1);
    opened
}

/// Tries one dialect, and another where the proxy does not know it.
async fn open(pool: &Pool, request: &OpenRequest, ladder: Ladder<'_>) -> Result<Opened, OpenError> {
    let deadline = deadline(pool, request);
    let (first, second) = ladder.steps();
    let error = match try_dialect(pool, request, first, deadline).await {
        Ok(opened) => return Ok(opened),
        Err(Failure::Foreign(error)) => error,
        Err(failure) => return Err(failure.into_error()),
    };
    let Some(second) = second else { return Err(error) };
    match try_dialect(pool, request, second, deadline).await {
        Ok(opened) => {
            ladder.second_is_spoken();
            Ok(opened)
        }
        Err(Failure::Foreign(_)) => {
            ladder.second_is_foreign();
            Err(error)
        }
        Err(failure) => Err(failure.into_error()),
    }
}

fn deadline(pool: &Pool, request: &OpenRequest) -> Instant {
    let own = Instant::now() + pool.config().open_timeout;
    request.deadline.map_or(own, |deadline| own.min(deadline.into()))
}

/// Tries until the proxy has acted on the request: elsewhere where a connection did not take it, and
/// once more with fresh credentials.
async fn try_dialect(
    pool: &Pool,
    request: &OpenRequest,
    dialect: Dialect,
    deadline: Instant,
) -> Result<Opened, Failure> {
    let mut http = draft(pool, request, dialect).map_err(Failure::Final)?;
    let mut wish = wish(pool, request);
    let (mut tries, mut challenge, mut challenged) = (0, None, false);
    loop {
        let authorized = authorize_by(deadline, pool, &mut http, challenge.as_deref());
        authorized.await.map_err(Failure::Final)?;
        let slot = pool.acquire(wish, deadline).await.map_err(Failure::Final)?;
        let id = slot.id();
        let question = Question { dialect, target: &request.target, headers: http.headers() };
        let tried = timeout_at(deadline, ask(slot, &http, question)).await;
        tries += 1;
        match tried.unwrap_or(Err(Failure::Final(OpenError::TimedOut(None)))) {
            Err(Failure::Unprocessed(_)) if tries < TRIES => {
                count(&pool.counters.opens_retried, 1);
                wish.avoided = id;
            }
            Err(Failure::Challenged { origin, challenge: fresh, .. })
                if pool.config().credentials.is_some() && !challenged =>
            {
                pool.memory.wants_authorization.store(origin, Ordering::Relaxed);
                (challenge, challenged) = (fresh, true);
            }
            outcome => return outcome,
        }
    }
}

/// What a flow asks of its connection at first.
fn wish(pool: &Pool, request: &OpenRequest) -> Wish {
    let holds = pool.config().low_latency.as_ref();
    Wish { avoided: None, low_latency: holds.is_some_and(|holds| holds(&request.target)) }
}

/// The request in a dialect, with all but credentials that must be fetched.
fn draft(pool: &Pool, request: &OpenRequest, dialect: Dialect) -> Result<Request<()>, OpenError> {
    let mut http = dialect.request(pool.config(), &request.target)?;
    pool.config().headers.append_to(http.headers_mut());
    Ok(http)
}

/// The same as [`authorize`], for as long as there is time.
async fn authorize_by(
    deadline: Instant,
    pool: &Pool,
    http: &mut Request<()>,
    challenge: Option<&str>,
) -> Result<(), OpenError> {
    let authorized = timeout_at(deadline, authorize(pool, http, challenge));
    authorized.await.unwrap_or(Err(OpenError::TimedOut(None)))
}

/// Puts fresh credentials into a request, where there is somebody to ask for them.
async fn authorize(
    pool: &Pool,
    http: &mut Request<()>,
    challenge: Option<&str>,
) -> Result<(), OpenError> {
    let Some(credentials) = &pool.config().credentials else { return Ok(()) };
    let fetched = credentials.fetch(challenge).await;
    let value: Option<HeaderValue> = fetched.ok().and_then(|auth| auth.value().ok());
    let Some(value) = value else {
        // The error may repeat what must not be told.
        tracing::warn!("no credentials could be had");
        return Err(OpenError::Unauthenticated(None));
    };
    let origin = pool.memory.wants_authorization.load(Ordering::Relaxed);
    let (field, other) = if origin {
        (AUTHORIZATION, PROXY_AUTHORIZATION)
    } else {
        (PROXY_AUTHORIZATION, AUTHORIZATION)
    };
    http.headers_mut().remove(other);
    http.headers_mut().insert(field, value);
    Ok(())
}

/// One request, one response. Dropped midway it gives up its stream or connection.
async fn ask(slot: Slot, http: &Request<()>, question: Question<'_>) -> Result<Opened, Failure> {
    match slot {
        Slot::Http2(slot) => ask_http2(slot, http, question).await,
        Slot::Http1(slot) => ask_http1(slot, http, question).await,
    }
}

async fn ask_http2(
    slot: Http2Slot,
    http: &Request<()>,
    question: Question<'_>,
) -> Result<Opened, Failure> {
    let Http2Slot { send: handle, permit } = slot;
    if http.extensions().get::<Protocol>().is_some() && !permit.link().extended_connect() {
        return Err(no_extended_connect());
    }
    let mut handle = handle.ready().await.map_err(unprocessed)?;
    let (response, send) = handle.send_request(http.clone(), false).map_err(unprocessed)?;
    drop(handle);
    let dialect = question.dialect;
    let response = response.await.map_err(|error| failed(dialect, error))?;
    let (headers, recv) = question.judge(response)?;
    Ok(Opened { dialect, headers, carrier: Carrier::Http2(Accepted { permit, send, recv }) })
}

async fn ask_http1(
    slot: Http1,
    http: &Request<()>,
    question: Question<'_>,
) -> Result<Opened, Failure> {
    let Http1 { mut io, place } = slot;
    let (head, early) = exchange(&mut io, http).await.map_err(failed_http1)?;
    let headers = question.judge_http1(head, &early)?;
    let carrier = Carrier::Http1 { io, early, place };
    Ok(Opened { dialect: question.dialect, headers, carrier })
}
