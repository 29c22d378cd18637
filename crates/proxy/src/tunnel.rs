//! A tunnel from its request to its end, whichever version of HTTP carries it.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{EXPECT, HeaderName, HeaderValue};
use http::{Request, Response};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::OwnedSemaphorePermit;
use tracing::info;

use crate::client::{Gone, Receiver, Sender};
use crate::credit::Lane;
use crate::refusal::Refusal;
use crate::request::{Protocol, Wish};
use crate::serve::Shared;
use crate::stats::OpenTunnel;
use crate::{connect, connect_udp};

/// The field that says that capsules follow (RFC 9297 §3.4).
const CAPSULE_PROTOCOL: HeaderName = HeaderName::from_static("capsule-protocol");

/// A tunnel that may be opened.
pub(crate) struct Tunnel {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lane: Arc<Lane>,
    client: SocketAddr,
    pub(crate) wish: Wish,
    /// Whether the client wants to hear that its request has come (RFC 9110 §10.1.1).
    pub(crate) expects_continue: bool,
    /// The server-wide limit counts these.
    _permit: OwnedSemaphorePermit,
}

/// The proxy's end of a tunnel.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Tunnel {
    /// Decides whether a request may open a tunnel, as far as that is known without its target.
    pub(crate) fn admit<B>(
        shared: &Arc<Shared>,
        lane: &Arc<Lane>,
        client: SocketAddr,
        request: &Request<B>,
    ) -> Result<Self, Refusal> {
        Self::try_admit(shared, lane, client, request).inspect_err(|refusal| {
            shared.stats.requests_refused.add(1);
            info!(%client, status = %refusal.status(), "request refused");
        })
    }

    fn try_admit<B>(
        shared: &Arc<Shared>,
        lane: &Arc<Lane>,
        client: SocketAddr,
        request: &Request<B>,
    ) -> Result<Self, Refusal> {
        let protocol = Protocol::of(request);
        if !shared.auth.allows(request.headers()) {
            let by_origin = matches!(protocol, Ok(Protocol::ConnectTcp));
            return Err(Refusal::unauthenticated(&shared.auth, by_origin));
        }
        let wish = Wish::parse(protocol?, request, &shared.templates)?;
        let permit = Arc::clone(&shared.tunnels).try_acquire_owned();
        Ok(Self {
            shared: Arc::clone(shared),
            lane: Arc::clone(lane),
            client,
            wish,
            expects_continue: expects_continue(request),
            _permit: permit.map_err(|_| Refusal::overloaded())?,
        })
    }

    /// Reaches the target.
    pub(crate) async fn open(&self) -> Result<Socket, Refusal> {
        let Wish { protocol, target } = &self.wish;
        let opened = if protocol.is_udp() {
            connect_udp::open(&self.shared, target).await.map(Socket::Udp)
        } else {
            connect::open(&self.shared, target).await.map(Socket::Tcp)
        };
        opened.inspect_err(|refusal| {
            self.shared.stats.requests_refused.add(1);
            info!(client = %self.client, %target, status = %refusal.status(), "{protocol} refused");
        })
    }

    /// The answer's fields that do not depend on the version of HTTP.
    pub(crate) fn response(&self) -> Response<()> {
        let mut response = Response::new(());
        if self.wish.protocol.upgrade().is_some() {
            response.headers_mut().insert(CAPSULE_PROTOCOL, HeaderValue::from_static("?1"));
        }
        response
    }

    /// Carries the tunnel to its end.
    pub(crate) async fn carry(self, socket: Socket, receiver: Receiver, sender: Sender) {
        let (client, Wish { protocol, target }) = (self.client, self.wish.clone());
        let stats = &self.shared.stats;
        let opened = if protocol.is_udp() { &stats.udp_tunnels } else { &stats.tcp_tunnels };
        opened.add(1);
        info!(%client, %target, "{protocol}");
        let _open = OpenTunnel(Arc::clone(stats));
        let end = match socket {
            Socket::Tcp(socket) => connect::carry(&self, socket, receiver, sender).await,
            Socket::Udp(socket) => connect_udp::carry(&self, socket, receiver, sender).await,
        };
        info!(%client, %target, ?end, "tunnel ended");
    }
}

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides said that they had no more to say.
    Clean,
    /// The target reset the connection, or the network did, or it cannot be reached at all.
    TargetGone,
    /// The client reset the tunnel, or its connection is gone.
    ClientGone,
    /// The client's capsules are malformed.
    Malformed,
    /// The client's stream ended inside a capsule, or without the capsule that ends it.
    Truncated,
    /// Nothing moved for too long.
    Idle,
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::ClientGone
    }
}

fn expects_continue<B>(request: &Request<B>) -> bool {
    let expect = request.headers().get(EXPECT);
    expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
