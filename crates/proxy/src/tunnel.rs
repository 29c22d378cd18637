//! A tunnel from its request to its end, whichever version of HTTP carries it.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{EXPECT, HeaderName, HeaderValue};
use http::{Request, Response};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::OwnedSemaphorePermit;
use tracing::debug;

use crate::access::{Entry, Told};
use crate::client::{Gone, Receiver, Sender};
use crate::clients::Share;
use crate::credit::Lane;
use crate::refusal::Refusal;
use crate::request::{Protocol, Wish};
use crate::serve::Shared;
use crate::{connect, connect_udp};

/// The field that says that capsules follow (RFC 9297 §3.4).
const CAPSULE_PROTOCOL: HeaderName = HeaderName::from_static("capsule-protocol");

/// A tunnel that may be opened.
pub(crate) struct Tunnel {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lane: Arc<Lane>,
    pub(crate) wish: Wish,
    /// Whether the client wants to hear that its request has come (RFC 9110 §10.1.1).
    pub(crate) expects_continue: bool,
    entry: Entry,
    /// What counts against the limits, of the server and of the client.
    _permit: (OwnedSemaphorePermit, Share),
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
        let entry = Entry::new(client, request.method().as_str());
        match wish(shared, request).and_then(|wish| Ok((wish, permit(shared, client)?))) {
            Ok((wish, permit)) => Ok(Self {
                shared: Arc::clone(shared),
                lane: Arc::clone(lane),
                entry: Entry::new(client, wish.protocol.name()),
                wish,
                expects_continue: expects_continue(request),
                _permit: permit,
            }),
            Err(refusal) => {
                shared.stats.refused(refusal.error());
                entry.refused(Told(request.uri()), &refusal);
                Err(refusal)
            }
        }
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
            self.shared.stats.refused(refusal.error());
            self.entry.refused(target, refusal);
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
        let Wish { protocol, target } = &self.wish;
        debug!(%target, "{} opened", protocol.name());
        let open = self.shared.stats.opened(*protocol);
        let ended = match socket {
            Socket::Tcp(socket) => connect::carry(&self, socket, receiver, sender).await,
            Socket::Udp(socket) => connect_udp::carry(&self, socket, receiver, sender).await,
        };
        drop(open);
        self.entry.ended(target, &ended);
    }
}

/// What a request asks for, if its client may ask.
fn wish<B>(shared: &Shared, request: &Request<B>) -> Result<Wish, Refusal> {
    let protocol = Protocol::of(request);
    let auth = shared.auth.borrow();
    if !auth.allows(request.headers()) {
        let by_origin = matches!(protocol, Ok(Protocol::ConnectTcp));
        return Err(Refusal::unauthenticated(&auth, by_origin));
    }
    Wish::parse(protocol?, request, &shared.templates)
}

fn permit(shared: &Shared, client: SocketAddr) -> Result<(OwnedSemaphorePermit, Share), Refusal> {
    let share = shared.clients_tunnels.take(client.ip()).ok_or_else(Refusal::too_many)?;
    let permit = Arc::clone(&shared.tunnels).try_acquire_owned();
    Ok((permit.map_err(|_| Refusal::overloaded())?, share))
}

/// What there is to say of a tunnel that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) end: End,
    /// Payload bytes that the target has taken.
    pub(crate) up: u64,
    /// Payload bytes that the target has sent.
    pub(crate) down: u64,
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
