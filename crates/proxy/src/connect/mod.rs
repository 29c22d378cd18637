//! CONNECT (RFC 9113 §8.5): a TCP tunnel.
//!
//! ```text
//!   request ─▶ resolve ─▶ dial ─▶ 200 ─▶ relay ┬─ upload    DATA ─▶ bytes, END_STREAM ─▶ FIN
//!                                              └─ download  bytes ─▶ DATA, FIN ─▶ END_STREAM
//! ```

mod dial;
mod download;
mod relay;
mod upload;

use std::future::poll_fn;
use std::sync::Arc;

use h2::RecvStream;
use h2::server::SendResponse;
use http::Response;
use pseudotcp_masque::Target;
use tokio::net::TcpStream;
use tracing::info;

use crate::data::Data;
use crate::refusal::Refusal;
use crate::resolve::resolve;
use crate::serve::Shared;
use crate::session::Admission;
use crate::stats::OpenTunnel;

use self::dial::dial;
use self::relay::Relay;

/// Opens the tunnel, answers the request, and carries the tunnel to its end.
pub(crate) async fn run(
    admission: Admission,
    target: Target,
    receive: RecvStream,
    mut respond: SendResponse<Data>,
) {
    let Admission { shared, lane, client, permit: _permit } = admission;
    let opened = tokio::select! {
        opened = open(&shared, &target) => opened,
        // The client gave up, or is gone.
        _ = poll_fn(|cx| respond.poll_reset(cx)) => return,
    };
    let socket = match opened {
        Ok(socket) => socket,
        Err(refusal) => {
            shared.stats.requests_refused.add(1);
            info!(%client, %target, status = %refusal.status(), "CONNECT refused");
            return refusal.send(respond);
        }
    };
    let Ok(send) = respond.send_response(Response::new(()), false) else { return };
    info!(%client, %target, "CONNECT");
    shared.stats.tcp_tunnels.add(1);
    let _open = OpenTunnel(Arc::clone(&shared.stats));
    let end = Relay::new(shared, lane, receive, send).run(socket).await;
    info!(%client, %target, ?end, "tunnel ended");
}

async fn open(shared: &Shared, target: &Target) -> Result<TcpStream, Refusal> {
    let addresses = resolve(shared, target).await?;
    let socket = dial(addresses, shared.limits.connect_timeout).await?;
    socket.set_nodelay(true).map_err(|error| Refusal::of_connect(&error))?;
    Ok(socket)
}
