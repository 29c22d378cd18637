//! HTTP/2: many requests in one connection, a task for each tunnel.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use ::h2::RecvStream;
use ::h2::server::{Builder, Connection, SendResponse};
use http::{Request, Response, StatusCode};
use pseudotcp_masque::Source;
use pseudotcp_masque::cork::{CorkHandle, Corked, FrameLimit, MAX_FRAME};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::client::{Data, Io, Receiver, Sender};
use crate::head::MAX_HEAD;
use crate::serve::Shared;
use crate::session::Client;
use crate::tunnel::Tunnel;

/// How many bytes of frames leave together at the most.
const CORK: usize = 64 * 1024;

/// What HTTP/2 holds unsent for one tunnel.
const SEND_BUFFER: usize = 256 * 1024;

/// What tiny DATA frames may cost that no tunnel has read yet, as h2 counts it (256 minus the
/// length for each), as much as the client of this project allows. One poll of a busy connection can
/// bring tens of thousands.
const DATA_FRAME_BUDGET: usize = 64 << 20;

/// h2 counts, over the life of a connection, the streams that it resets by itself, such as for DATA
/// that crossed our reset. A connection lives for weeks, so its default of 1,024 is not enough.
const OWN_RESETS: usize = 1 << 20;

type Http2 = (Connection<Corked<Io>, Data>, CorkHandle<Io>);

/// Exchanges the prefaces.
pub(super) async fn handshake(shared: &Shared, tls: Io) -> Result<Http2, Source> {
    let (io, cork) = Corked::new(tls, CORK);
    let mut handshake = pin!(builder(shared).handshake::<_, Data>(io));
    let connection = poll_fn(|cx| {
        let established = handshake.as_mut().poll(cx);
        drain(&cork, cx)?;
        established.map_err(Source::from)
    })
    .await?;
    Ok((connection, cork))
}

/// Serves one client to the end of its connection.
pub(super) async fn run(
    client: Client,
    (connection, cork): Http2,
    draining: watch::Receiver<bool>,
) -> Result<(), Source> {
    Session { connection, cork, client, requests: 0 }.run(draining).await
}

fn builder(shared: &Shared) -> Builder {
    let limits = &shared.limits;
    let streams = usize::try_from(limits.streams).unwrap_or(usize::MAX);
    let mut builder = Builder::new();
    builder
        .max_frame_size(MAX_FRAME)
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_concurrent_streams(limits.streams)
        // A client may give up all its requests at once, and we may refuse as many.
        .max_pending_accept_reset_streams(streams)
        .max_concurrent_reset_streams(streams)
        .max_local_error_reset_streams(Some(OWN_RESETS))
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .data_frame_budget(DATA_FRAME_BUDGET)
        .enable_connect_protocol();
    builder
}

/// Writes what the cork holds. That the socket takes no more now is no error: its wake-up drains.
fn drain(cork: &CorkHandle<Io>, cx: &mut Context<'_>) -> Result<(), Source> {
    match cork.poll_drain(cx) {
        Poll::Ready(Err(error)) => Err(error.into()),
        Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
    }
}

struct Session {
    connection: Connection<Corked<Io>, Data>,
    cork: CorkHandle<Io>,
    client: Client,
    requests: u64,
}

impl Session {
    /// Drives the connection to its end; a drain or an idle hour is announced by GOAWAY first.
    async fn run(mut self, mut draining: watch::Receiver<bool>) -> Result<(), Source> {
        let quiet = self.client.shared.limits.connection_idle;
        let mut idle = pin!(sleep(quiet));
        let mut leaving = false;
        let mut seen = 0;
        loop {
            tokio::select! {
                ended = poll_fn(|cx| self.poll(cx)) => return ended,
                _ = draining.wait_for(|draining| *draining), if !leaving => {
                    leaving = true;
                    self.connection.graceful_shutdown();
                }
                () = &mut idle => {
                    let busy = self.connection.has_streams() || self.requests != seen;
                    if leaving && !busy {
                        // GOAWAY was said an idle time ago, and the client did not react.
                        return Ok(());
                    }
                    if !busy {
                        leaving = true;
                        self.connection.graceful_shutdown();
                    }
                    seen = self.requests;
                    idle.set(sleep(quiet));
                }
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Source>> {
        let Client { shared, lane, .. } = &self.client;
        if let Some(window) = lane.poll_window(cx.waker(), &shared.limits) {
            self.connection.set_target_window_size(window);
        }
        let ended = self.poll_requests(cx);
        drain(&self.cork, cx)?;
        ended
    }

    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Source>> {
        loop {
            match Pin::new(&mut self.connection).poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.handle(request, respond),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error.into())),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn handle(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Data>) {
        self.requests += 1;
        let Client { shared, lane, address } = &self.client;
        match Tunnel::admit(shared, lane, *address, &request) {
            Ok(tunnel) => {
                let frames = self.cork.frame_limit();
                shared.tasks.spawn(serve(tunnel, request.into_body(), respond, frames));
            }
            // A client that is gone already need not hear it.
            Err(refusal) => drop(respond.send_response(refusal.into_response(), true)),
        }
    }
}

/// Opens a tunnel, answers its request, and carries the tunnel to its end.
async fn serve(
    tunnel: Tunnel,
    receive: RecvStream,
    mut respond: SendResponse<Data>,
    frames: FrameLimit,
) {
    if tunnel.expects_continue {
        let _ = respond.send_informational(informational());
    }
    let opened = tokio::select! {
        opened = tunnel.open() => opened,
        // The client gave up, or is gone.
        _ = poll_fn(|cx| respond.poll_reset(cx)) => return,
    };
    match opened {
        Ok(socket) => {
            let Ok(send) = respond.send_response(tunnel.response(), false) else { return };
            tunnel.carry(socket, Receiver::H2(receive), Sender::h2(send, frames)).await;
        }
        Err(refusal) => drop(respond.send_response(refusal.into_response(), true)),
    }
}

fn informational() -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::CONTINUE;
    response
}
