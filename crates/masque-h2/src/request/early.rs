//! UDP flows that do not wait for the proxy's answer.

use std::sync::Arc;

use h2::RecvStream;
use h2::client::ResponseFuture;
use http::HeaderMap;
use pseudotcp_masque::{DatagramTunnel, OpenError, OpenRequest};
use tokio::time::{Instant, timeout_at};

use super::answer::{Failure, Question, failed};
use super::message::Dialect;
use super::{authorize_by, counted, deadline, draft, wish};
use crate::pool::{Pool, Slot};
use crate::tunnel::Early;

/// Asks for a UDP flow and does not wait for the answer. `None` where the flow must be opened as usual:
/// this is not wanted, it is not known what the proxy speaks, or the request could not leave.
pub(super) async fn open_udp(
    pool: &Arc<Pool>,
    request: &OpenRequest,
) -> Result<Option<DatagramTunnel>, OpenError> {
    if !(pool.config().early_datagrams && pool.memory.is_sure_of_udp()) {
        return Ok(None);
    }
    let deadline = deadline(pool, request);
    let mut http = draft(pool, request, Dialect::ConnectUdp)?;
    authorize_by(deadline, pool, &mut http, None).await?;
    // RFC 9931: over HTTP/1.1 nothing may be sent before the answer.
    let Slot::Http2(slot) = pool.acquire(wish(pool, request), deadline).await? else {
        return Ok(None);
    };
    if !slot.permit.link().extended_connect() {
        return Ok(None);
    }
    let Ok(mut handle) = slot.send.ready().await else { return Ok(None) };
    let headers = http.headers().clone();
    let Ok((response, send)) = handle.send_request(http, false) else { return Ok(None) };
    let answer = answer(Arc::clone(pool), request.clone(), headers, response, deadline);
    let counters = Arc::clone(&pool.counters);
    Ok(Some(Box::new(Early::new(Box::pin(answer), send, slot.permit, counters))))
}

/// What the proxy answers in the end.
async fn answer(
    pool: Arc<Pool>,
    request: OpenRequest,
    headers: HeaderMap,
    response: ResponseFuture,
    deadline: Instant,
) -> Result<RecvStream, OpenError> {
    let dialect = Dialect::ConnectUdp;
    let question = Question { dialect, target: &request.target, headers: &headers };
    let judged = match timeout_at(deadline, response).await {
        Ok(Ok(response)) => question.judge(response),
        Ok(Err(error)) => Err(failed(dialect, error)),
        Err(_) => Err(Failure::Final(OpenError::TimedOut(None))),
    };
    // What is not the target's fault is dealt with when the next flow is opened as usual.
    pool.memory.be_sure_of_udp(matches!(judged, Ok(_) | Err(Failure::Final(_))));
    counted(&pool, judged.map(|(_, recv)| recv).map_err(Failure::into_error))
}
