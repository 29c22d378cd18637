//! One client connection: TLS, HTTP/2, and the requests in it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::Request;
use pseudotcp_masque::Source;
use pseudotcp_masque::cork::{CorkHandle, Corked};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::info;

use crate::credit::Lane;
use crate::data::Data;
use crate::identity::ALPN;
use crate::refusal::Refusal;
use crate::request::Wish;
use crate::serve::Shared;
use crate::{connect, connect_udp};

/// How many bytes of frames leave together at the most.
const CORK: usize = 64 * 1024;

/// What the kernel holds unsent before it says that the socket is full: enough to fill the line,
/// little enough that a new frame does not wait behind much.
const NOT_SENT_LOW_WATER: u32 = 128 * 1024;

/// What HTTP/2 holds unsent for one tunnel.
const SEND_BUFFER: usize = 256 * 1024;

/// What tiny DATA frames may cost that no tunnel has read yet, as h2 counts it (256 minus the
/// length for each). One poll of a busy connection can bring tens of thousands.
const DATA_FRAME_BUDGET: usize = 32 << 20;

/// h2 counts, over the life of a connection, the streams that it resets by itself, such as for DATA
/// that crossed our reset. A connection lives for weeks, so its default of 1,024 is not enough.
const OWN_RESETS: usize = 1 << 20;

/// The most bytes of a request's header list; a credential may be long.
const HEADER_LIST: u32 = 16 * 1024;

/// What a tunnel's task needs besides its request.
pub(crate) struct Admission {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lane: Arc<Lane>,
    pub(crate) client: SocketAddr,
    /// Held as long as the tunnel: the server-wide limit counts these.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Serves one client to the end of its connection.
pub(crate) async fn run(
    shared: Arc<Shared>,
    acceptor: TlsAcceptor,
    socket: TcpStream,
    client: SocketAddr,
    draining: watch::Receiver<bool>,
) -> Result<(), Source> {
    prepare(&socket)?;
    let handshake = timeout(shared.limits.handshake_timeout, handshake(&shared, &acceptor, socket));
    let (connection, cork) = match handshake.await {
        Ok(Ok(established)) => established,
        failed => {
            shared.stats.handshakes_failed.add(1);
            return failed?.map(drop);
        }
    };
    let lane = Lane::new(Arc::clone(&shared.held), &shared.limits);
    Session { connection, cork, shared, lane, client, requests: 0 }.run(draining).await
}

/// The client's socket: no delay, little unsent, and dead clients noticed within two minutes.
fn prepare(socket: &TcpStream) -> Result<(), Source> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_mins(1))
        .with_interval(Duration::from_secs(15));
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        socket.set_tcp_notsent_lowat(NOT_SENT_LOW_WATER)?;
        socket.set_tcp_user_timeout(Some(Duration::from_mins(2)))?;
    }
    Ok(())
}

type Io = TlsStream<TcpStream>;

async fn handshake(
    shared: &Shared,
    acceptor: &TlsAcceptor,
    socket: TcpStream,
) -> Result<(Connection<Corked<Io>, Data>, CorkHandle<Io>), Source> {
    let tls = acceptor.accept(socket).await?;
    // RFC 9113 §3.3: HTTP/2 over TLS is what ALPN says, and nothing else.
    if tls.get_ref().1.alpn_protocol() != Some(ALPN) {
        return Err("the client does not speak HTTP/2".into());
    }
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

fn builder(shared: &Shared) -> Builder {
    let limits = &shared.limits;
    let streams = usize::try_from(limits.streams).unwrap_or(usize::MAX);
    let mut builder = Builder::new();
    builder
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_concurrent_streams(limits.streams)
        // A client may give up all its requests at once, and we may refuse as many.
        .max_pending_accept_reset_streams(streams)
        .max_concurrent_reset_streams(streams)
        .max_local_error_reset_streams(Some(OWN_RESETS))
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(HEADER_LIST)
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
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    client: SocketAddr,
    requests: u64,
}

impl Session {
    /// Drives the connection to its end; a drain or an idle hour is announced by GOAWAY first.
    async fn run(mut self, mut draining: watch::Receiver<bool>) -> Result<(), Source> {
        let quiet = self.shared.limits.connection_idle;
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
        if let Some(window) = self.lane.poll_window(cx.waker(), &self.shared.limits) {
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

    fn handle(&mut self, request: Request<RecvStream>, respond: SendResponse<Data>) {
        self.requests += 1;
        match self.admit(&request) {
            Ok((wish, admission)) => self.spawn(wish, admission, request.into_body(), respond),
            Err(refusal) => {
                self.shared.stats.requests_refused.add(1);
                info!(client = %self.client, status = %refusal.status(), "request refused");
                refusal.send(respond);
            }
        }
    }

    fn admit(&self, request: &Request<RecvStream>) -> Result<(Wish, Admission), Refusal> {
        if !self.shared.auth.allows(request.headers()) {
            return Err(Refusal::unauthenticated(&self.shared.auth));
        }
        let wish = Wish::parse(request, &self.shared.udp_template)?;
        let permit = Arc::clone(&self.shared.tunnels)
            .try_acquire_owned()
            .map_err(|_| Refusal::overloaded())?;
        let (shared, lane) = (Arc::clone(&self.shared), Arc::clone(&self.lane));
        Ok((wish, Admission { shared, lane, client: self.client, permit }))
    }

    fn spawn(
        &self,
        wish: Wish,
        admission: Admission,
        receive: RecvStream,
        respond: SendResponse<Data>,
    ) {
        let tasks = &self.shared.tasks;
        match wish {
            Wish::Tcp(target) => tasks.spawn(connect::run(admission, target, receive, respond)),
            Wish::Udp(target) => tasks.spawn(connect_udp::run(admission, target, receive, respond)),
        }
    }
}
