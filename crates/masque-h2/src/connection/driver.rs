//! The one task of a connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::SendRequest;
use pseudotcp_masque::cork::{CorkHandle, Corked};
use tokio::io::{AsyncRead, AsyncWrite};

use super::link::{Drain, Link, Phase};
use super::liveness::Liveness;
use super::meter::{Meter, Metered};
use super::pinger::Pinger;
use super::relief::Relief;
use super::windows::Windows;

/// A connection's stream, as HTTP/2 sees it.
pub(crate) type Wire<T> = Corked<Metered<T>>;

/// Why a driver ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ending {
    /// The peer closed it.
    #[error("the proxy closed the connection")]
    Closed,
    /// HTTP/2 or the stream below failed.
    #[error("the connection failed: {0}")]
    Failed(#[from] h2::Error),
    /// Writing failed.
    #[error("writing failed: {0}")]
    Write(#[from] std::io::Error),
    /// No byte came in answer to a PING.
    #[error("the proxy does not answer")]
    Dead,
    /// This side gave it up.
    #[error("the connection was given up")]
    Condemned,
}

/// Drives a connection to its end: each poll reads what has come, moves it to the flows' queues,
/// and writes all that is to be sent at once.
pub(crate) struct Driver<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    /// Dropped first at the end, which tells every stream.
    connection: Option<h2::client::Connection<Wire<T>, Bytes>>,
    cork: CorkHandle<Metered<T>>,
    /// To read the peer's SETTINGS and GOAWAY by. Such a handle keeps an idle connection from
    /// closing by itself, so it is let go when nobody will open another flow.
    probe: Option<SendRequest<Bytes>>,
    meter: Arc<Meter>,
    pinger: Pinger,
    liveness: Liveness,
    windows: Windows,
    relief: Relief,
    link: Arc<Link>,
    batch: Vec<Arc<dyn Drain>>,
}

impl<T> Driver<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    pub(crate) fn new(
        mut connection: h2::client::Connection<Wire<T>, Bytes>,
        cork: CorkHandle<Metered<T>>,
        probe: SendRequest<Bytes>,
        meter: Arc<Meter>,
        (liveness, windows): (Liveness, Windows),
        link: Arc<Link>,
    ) -> Self {
        link.set_window(windows.connection());
        Self {
            pinger: Pinger::new(connection.ping_pong()),
            connection: Some(connection),
            cork,
            probe: Some(probe),
            meter,
            liveness,
            windows,
            relief: Relief::default(),
            link,
            batch: Vec::new(),
        }
    }

    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(Ending::Closed);
        };
        self.meter.refill();
        self.link.begin_poll();
        let polled = Pin::new(connection).poll(cx);
        self.publish(cx);
        self.link.drain_woken(&mut self.batch);
        polled.map(|result| result.map_or_else(Ending::Failed, |()| Ending::Closed))
    }

    /// Tells the others what the peer has said. HTTP/2's library wakes nobody for it.
    fn publish(&mut self, cx: &mut Context<'_>) {
        let Some(probe) = &mut self.probe else { return };
        if let Poll::Ready(Err(_)) = probe.poll_ready(cx) {
            self.link.enter(Phase::Draining);
            self.probe = None;
            return;
        }
        // Zero, as set by us, until the first SETTINGS.
        let limit = probe.current_max_send_streams();
        if limit > 0 {
            self.link.publish(limit, probe.is_extended_connect_protocol_enabled());
            self.link.enter(Phase::Open);
        }
    }

    /// Sees to it that no window holds flows up that are read.
    fn adapt_windows(&mut self, cx: &mut Context<'_>) {
        let Some(connection) = &mut self.connection else { return };
        if self.link.wants_large_windows() {
            self.windows.enlarge();
        }
        self.windows.measure(cx, &self.link.gauge, &mut self.pinger);
        self.relief.poll(cx, &self.link, &mut self.windows);
        if self.windows.tell(connection) {
            self.link.set_window(self.windows.connection());
            cx.waker().wake_by_ref();
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if self.link.is_condemned() {
            return Poll::Ready(Ending::Condemned);
        }
        if self.link.is_released() {
            self.probe = None;
        }
        if let Poll::Ready(ending) = self.poll_connection(cx) {
            return Poll::Ready(ending);
        }
        self.adapt_windows(cx);
        if let Poll::Ready(Err(error)) = self.cork.poll_drain(cx) {
            return Poll::Ready(Ending::Write(error));
        }
        if self.link.take_probe() {
            self.liveness.probe(cx, &self.meter, &mut self.pinger);
        }
        let active = self.link.active() > 0;
        let dead = self.liveness.poll_dead(cx, active, &self.meter, &mut self.pinger);
        self.link.doubt(self.liveness.is_doubting());
        dead.map(|()| Ending::Dead)
    }
}

impl<T> Future for Driver<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.link.driver.register(cx.waker());
        self.poll_end(cx).map(|ending| self.link.end(ending))
    }
}

/// However the driver ends, every flow hears of it.
impl<T> Drop for Driver<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    fn drop(&mut self) {
        self.link.enter(Phase::Closed);
        self.connection = None;
        self.link.drain_woken(&mut self.batch);
    }
}
