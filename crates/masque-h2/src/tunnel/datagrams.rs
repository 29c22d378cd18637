//! An open UDP flow: datagrams in capsules (RFC 9298 §5).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Sink, Stream};
use h2::{Reason, RecvStream, SendStream};
use pseudotcp_masque::datagram::{Decoder, Format, MAX_PAYLOAD};
use pseudotcp_masque::proxy_status::FIELD_NAME;
use pseudotcp_masque::{DatagramStream, TunnelError};
use tokio::time::Instant;

use super::bytes::poll_room;
use super::outbox::Outbox;
use super::queue::DatagramQueue;
use crate::connection::Permit;
use crate::connection::{Fault, Inbound, Queue};
use crate::request::Accepted;
use crate::state::Counters;

/// A datagram shorter than this is copied out of the read buffer, which it would pin.
const SMALL: usize = 4 * 1024;

/// The datagrams that wait for the flow's owner.
pub(crate) struct Received {
    decoder: Decoder,
    waiting: DatagramQueue,
}

impl Queue for Received {
    fn push(&mut self, mut chunk: Bytes) -> Result<usize, Fault> {
        let (length, now) = (chunk.len(), Instant::now());
        while let Some(payload) = self.decoder.decode(&mut chunk).map_err(Fault::Capsule)? {
            let small = payload.len() < SMALL;
            let payload = if small { Bytes::copy_from_slice(&payload) } else { payload };
            self.waiting.push(now, payload);
        }
        // The queue is bounded by itself: a flow that nobody reads must not stop the proxy.
        Ok(length)
    }

    fn pop(&mut self) -> Option<(Bytes, usize)> {
        self.waiting.pop().map(|payload| (payload, 0))
    }

    fn finish(&mut self, recv: &mut RecvStream, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let trailers = ready!(recv.poll_trailers(cx)).map_err(|error| self.judge(error))?;
        if trailers.is_some_and(|trailers| trailers.contains_key(FIELD_NAME)) {
            return Poll::Ready(Err(Fault::Unreachable));
        }
        Poll::Ready(self.decoder.finish().map_err(Fault::Capsule))
    }

    fn judge(&self, error: h2::Error) -> Fault {
        let connect_error = error.reason() == Some(Reason::CONNECT_ERROR);
        if connect_error && error.is_reset() { Fault::Unreachable } else { error.into() }
    }
}

/// A connect-udp stream after its 2xx.
pub(crate) struct Datagrams {
    inbound: Arc<Inbound<Received>>,
    send: SendStream<Bytes>,
    outbox: Outbox,
    /// Whether `END_STREAM` was sent.
    closed: bool,
    permit: Permit,
}

impl Datagrams {
    pub(crate) fn new(accepted: Accepted, format: Format, counters: Arc<Counters>) -> Self {
        Self::with_outbox(accepted, Outbox::new(format, Arc::clone(&counters)), counters)
    }

    /// A flow that has begun to send.
    pub(super) fn with_outbox(accepted: Accepted, outbox: Outbox, counters: Arc<Counters>) -> Self {
        let Accepted { permit, send, recv } = accepted;
        let decoder = Decoder::with_format(outbox.format());
        let queue = Received { decoder, waiting: DatagramQueue::new(counters) };
        let inbound = Inbound::new(Arc::clone(permit.link()), recv, queue);
        Self { inbound, send, outbox, closed: false, permit }
    }

    /// Sends what the proxy has room for; Ready when nothing waits.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        let sent = ready!(poll_send(&mut self.send, &mut self.outbox, &self.permit, cx));
        Poll::Ready(sent.ok_or_else(|| self.fault()))
    }

    /// Why nothing can be sent.
    fn fault(&mut self) -> TunnelError {
        self.outbox.clear();
        match self.inbound.end() {
            Some(Err(fault)) => fault.into(),
            Some(Ok(())) | None => TunnelError::Reset,
        }
    }
}

/// Sends what the proxy has room for; Ready when nothing waits, with `None` when the proxy takes nothing
/// any more.
pub(super) fn poll_send(
    send: &mut SendStream<Bytes>,
    outbox: &mut Outbox,
    permit: &Permit,
    cx: &mut Context<'_>,
) -> Poll<Option<()>> {
    loop {
        let wanted = outbox.wanted();
        // Zero gives back what is left over, which would starve the neighbours.
        send.reserve_capacity(wanted);
        if wanted == 0 {
            return Poll::Ready(Some(()));
        }
        let Some(room) = ready!(poll_room(send, cx)) else { return Poll::Ready(None) };
        // What of one capsule does not fit waits in HTTP/2's own queue, so that a capsule once
        // begun is finished in any case.
        let mut capsules = outbox.merge(room);
        while !capsules.is_empty() {
            let data = capsules.split_to(capsules.len().min(permit.link().frames.get()));
            if send.send_data(data, false).is_err() {
                return Poll::Ready(None);
            }
        }
    }
}

impl Stream for Datagrams {
    type Item = Result<Bytes, TunnelError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inbound.poll_next(cx)
    }
}

impl Sink<Bytes> for Datagrams {
    type Error = TunnelError;

    fn poll_ready(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        Poll::Ready(self.inbound.check())
    }

    fn start_send(mut self: Pin<&mut Self>, datagram: Bytes) -> Result<(), TunnelError> {
        self.outbox.push(datagram);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.poll_push(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        ready!(self.poll_push(cx))?;
        if !self.closed {
            self.closed = true;
            self.send.send_data(Bytes::new(), true).map_err(|_| self.fault())?;
        }
        Poll::Ready(Ok(()))
    }
}

impl DatagramStream for Datagrams {
    fn max_datagram_size(&self) -> usize {
        MAX_PAYLOAD
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        let end = self.inbound.end();
        if !(self.closed && end == Some(Ok(()))) {
            self.send.send_reset(match end {
                // RFC 9297 §3.3: a malformed capsule is a malformed message.
                Some(Err(Fault::Capsule(_))) => Reason::PROTOCOL_ERROR,
                _ => Reason::CANCEL,
            });
        }
        self.inbound.close();
    }
}
