//! DNS as messages: over UDP, over TCP, and over TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{Sink, SinkExt, Stream, StreamExt, TryStreamExt};
use pseudotcp_dns::upstream::is_truncated;
use pseudotcp_masque::{DatagramTunnel, OpenRequest, TunnelError};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::error::ExchangeError;
use crate::multiplex::Multiplex;
use crate::tls;
use crate::upstream::{Upstream, Way};
use pseudotcp_masque::io::TunnelIo;

/// How long an open may take.
const OPEN: Duration = Duration::from_secs(3);

/// When a datagram is taken for lost, and the question sent again.
const RESEND: Duration = Duration::from_millis(900);
const TRIES: usize = 3;

/// RFC 5452 §9.2: a flow stands for one port of the proxy, which must not serve for long.
const MAX_AGE: Duration = Duration::from_secs(30);

/// A server that is asked over UDP.
pub(crate) struct Plain {
    way: Way,
    flow: Mutex<Option<(Instant, Arc<Multiplex>)>>,
}

impl Plain {
    pub(crate) fn new(way: Way) -> Self {
        Self { way, flow: Mutex::default() }
    }

    async fn flow(&self) -> Result<Arc<Multiplex>, ExchangeError> {
        let mut slot = self.flow.lock().await;
        if let Some((since, flow)) = &*slot
            && flow.is_open()
            && since.elapsed() < MAX_AGE
        {
            return Ok(Arc::clone(flow));
        }
        let flow = Arc::new(Multiplex::new(Datagrams(self.open().await?)));
        *slot = Some((Instant::now(), Arc::clone(&flow)));
        Ok(flow)
    }

    async fn open(&self) -> Result<DatagramTunnel, ExchangeError> {
        let deadline = (Instant::now() + OPEN).into_std();
        let target = self.way.server.targets().swap_remove(0);
        let request = OpenRequest::new(target).with_deadline(deadline);
        self.way.transport.open_udp(request).await.map_err(ExchangeError::Unreachable)
    }

    async fn over_udp(&self, query: &Bytes) -> Result<Bytes, ExchangeError> {
        let mut outcome = Err(ExchangeError::TimedOut);
        for _ in 0..TRIES {
            let flow = self.flow().await?;
            outcome = match timeout(RESEND, flow.exchange(query)).await {
                Ok(answer) => answer.map_err(ExchangeError::Connection),
                Err(_) => Err(ExchangeError::TimedOut),
            };
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    async fn over_tcp(&self, query: &Bytes) -> Result<Bytes, ExchangeError> {
        let tunnel = self.way.open(Instant::now() + OPEN).await?;
        let flow = Multiplex::new(framed(TunnelIo::new(tunnel)));
        flow.exchange(query).await.map_err(ExchangeError::Connection)
    }
}

#[async_trait]
impl Upstream for Plain {
    async fn exchange(&self, query: &Bytes) -> Result<Bytes, ExchangeError> {
        let answer = self.over_udp(query).await?;
        // RFC 7766 §5: what is truncated is asked for again over TCP.
        if is_truncated(&answer) { self.over_tcp(query).await } else { Ok(answer) }
    }
}

/// A server that is asked over TLS (RFC 7858), through one warm connection.
pub(crate) struct Dot {
    way: Way,
    tls: Arc<ClientConfig>,
    flow: Mutex<Option<Arc<Multiplex>>>,
}

impl Dot {
    pub(crate) fn new(way: Way, tls: &Arc<ClientConfig>) -> Self {
        Self { way, tls: tls::with_protocol(tls, tls::DOT), flow: Mutex::default() }
    }

    /// The connection, a new one where it was lost; and whether it is new.
    async fn flow(&self) -> Result<(Arc<Multiplex>, bool), ExchangeError> {
        let mut slot = self.flow.lock().await;
        if let Some(flow) = &*slot
            && flow.is_open()
        {
            return Ok((Arc::clone(flow), false));
        }
        let stream = tls::connect(&self.way, &self.tls, Instant::now() + OPEN).await?;
        let flow = Arc::new(Multiplex::new(framed(stream)));
        *slot = Some(Arc::clone(&flow));
        Ok((flow, true))
    }
}

#[async_trait]
impl Upstream for Dot {
    async fn exchange(&self, query: &Bytes) -> Result<Bytes, ExchangeError> {
        let (flow, is_new) = self.flow().await?;
        match flow.exchange(query).await {
            // The server may have closed the connection just now, as servers do.
            Err(_) if !is_new => {
                let (flow, _) = self.flow().await?;
                flow.exchange(query).await.map_err(ExchangeError::Connection)
            }
            outcome => outcome.map_err(ExchangeError::Connection),
        }
    }
}

/// RFC 1035 §4.2.2: two bytes of length before each message.
fn framed<S>(stream: S) -> impl Sink<Bytes, Error = io::Error> + Stream<Item = io::Result<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let codec = LengthDelimitedCodec::builder().length_field_length(2).new_codec();
    Framed::new(stream, codec).map_ok(BytesMut::freeze)
}

/// A datagram tunnel that loses what it cannot take, as a network would.
struct Datagrams(DatagramTunnel);

impl Sink<Bytes> for Datagrams {
    type Error = TunnelError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, message: Bytes) -> Result<(), TunnelError> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match self.0.poll_ready_unpin(&mut cx)? {
            Poll::Ready(()) => self.0.start_send_unpin(message),
            Poll::Pending => Ok(()),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.0.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.0.poll_close_unpin(cx)
    }
}

impl Stream for Datagrams {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx).map(|item| item.map(|result| result.map_err(io::Error::other)))
    }
}
