//! An open TCP flow.

use std::collections::VecDeque;
use std::mem::take;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::{Sink, Stream};
use h2::{Reason, RecvStream, SendStream};
use pseudotcp_masque::{AbortCode, ByteStream, MAX_CHUNK, TunnelError};

use crate::connection::Permit;
use crate::connection::{Fault, Inbound, Queue};
use crate::request::Accepted;

/// A chunk shorter than this is copied, since it would pin a read buffer several times its size.
const SMALL: usize = 4 * 1024;

/// Small chunks are merged up to this size.
const MERGED: usize = 16 * 1024;

/// The bytes of a TCP flow that wait for its owner.
#[derive(Default)]
pub(crate) struct Chunks {
    whole: VecDeque<Bytes>,
    /// Small chunks, merged; younger than all of `whole`.
    merged: BytesMut,
}

impl Chunks {
    fn seal(&mut self) {
        if !self.merged.is_empty() {
            self.whole.push_back(take(&mut self.merged).freeze());
        }
    }
}

impl Queue for Chunks {
    fn push(&mut self, chunk: Bytes) -> Result<usize, Fault> {
        if chunk.len() >= SMALL {
            self.seal();
            self.whole.push_back(chunk);
        } else {
            if self.merged.len() + chunk.len() > MERGED {
                self.seal();
            }
            self.merged.extend_from_slice(&chunk);
        }
        Ok(0)
    }

    fn pop(&mut self) -> Option<(Bytes, usize)> {
        if self.whole.is_empty() {
            self.seal();
        }
        let chunk = self.whole.pop_front()?;
        if self.whole.is_empty() && self.whole.capacity() > 64 {
            self.whole = VecDeque::new();
        }
        let length = chunk.len();
        Some((chunk, length))
    }

    fn finish(&mut self, _: &mut RecvStream, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }
}

/// A CONNECT stream after its 2xx.
pub(crate) struct Tunnel {
    inbound: Arc<Inbound<Chunks>>,
    send: SendStream<Bytes>,
    /// The one item that waits for room at the peer.
    slot: Bytes,
    closing: Closing,
    permit: Permit,
}

/// How far this side's end of stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// Not asked for. The owner's wish leads to `Deferred` or `Sent`.
    No { defer: bool },
    /// Asked for, and to be sent when the other side has ended too: this proxy would take it for
    /// the end of both.
    Deferred,
    /// `END_STREAM` was sent.
    Sent,
}

impl Tunnel {
    /// A tunnel whose end of stream waits for the other side's where `defer` says so.
    pub(crate) fn new(accepted: Accepted, defer: bool) -> Self {
        let Accepted { permit, send, recv } = accepted;
        let inbound = Inbound::new(Arc::clone(permit.link()), recv, Chunks::default());
        Self { inbound, send, slot: Bytes::new(), closing: Closing::No { defer }, permit }
    }

    /// Sends of the slot what the peer has room for; Ready when it is empty.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        while !self.slot.is_empty() {
            let room = ready!(poll_room(&mut self.send, cx)).ok_or_else(|| self.fault())?;
            let frame = self.permit.link().frames.get();
            let length = room.min(frame).min(self.slot.len());
            let data = self.slot.split_to(length);
            self.send.send_data(data, false).map_err(|_| self.fault())?;
        }
        Poll::Ready(Ok(()))
    }

    /// Why nothing can be sent.
    fn fault(&mut self) -> TunnelError {
        self.slot.clear();
        match self.inbound.end() {
            Some(Err(fault)) => fault.into(),
            Some(Ok(())) | None => TunnelError::Reset,
        }
    }

    fn is_over(&self) -> bool {
        self.closing == Closing::Sent && self.has_ended()
    }

    /// Whether the peer's end of stream has come.
    fn has_ended(&self) -> bool {
        matches!(self.inbound.end(), Some(Ok(())))
    }

    /// Sends the end of stream.
    fn finish(&mut self) -> Result<(), TunnelError> {
        self.closing = Closing::Sent;
        let sent = self.send.send_data(Bytes::new(), true).is_ok();
        // RFC 9113 §8.1: after its own end of stream the peer may reset what it no longer needs.
        if sent || self.has_ended() { Ok(()) } else { Err(self.fault()) }
    }

    /// Sends the end of stream that has waited for the peer's.
    fn finish_deferred(&mut self) {
        if self.closing == Closing::Deferred && self.has_ended() {
            // The flow has ended well in any case.
            let _sent = self.finish();
        }
    }
}

/// How much the peer has room for, of what was reserved. `None` when it takes nothing any more.
pub(crate) fn poll_room(send: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Poll<Option<usize>> {
    loop {
        match send.capacity() {
            0 => {}
            room => return Poll::Ready(Some(room)),
        }
        match ready!(send.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Poll::Ready(None),
        }
    }
}

impl Stream for Tunnel {
    type Item = Result<Bytes, TunnelError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.inbound.poll_next(cx));
        if next.is_none() {
            self.get_mut().finish_deferred();
        }
        Poll::Ready(next)
    }
}

impl Sink<Bytes> for Tunnel {
    type Error = TunnelError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        ready!(self.poll_push(cx))?;
        Poll::Ready(self.inbound.check())
    }

    fn start_send(mut self: Pin<&mut Self>, item: Bytes) -> Result<(), TunnelError> {
        let open = matches!(self.closing, Closing::No { .. });
        debug_assert!(self.slot.is_empty() && open && item.len() <= MAX_CHUNK);
        // What is reserved and not sent starves the neighbours: exactly this will be sent.
        self.send.reserve_capacity(item.len());
        self.slot = item;
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.poll_push(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        ready!(self.poll_push(cx))?;
        Poll::Ready(match self.closing {
            Closing::No { defer: true } if !self.has_ended() => {
                self.closing = Closing::Deferred;
                Ok(())
            }
            Closing::No { .. } => self.finish(),
            Closing::Deferred | Closing::Sent => Ok(()),
        })
    }
}

impl ByteStream for Tunnel {
    fn abort(&mut self, code: AbortCode) {
        self.send.send_reset(match code {
            AbortCode::Cancel => Reason::CANCEL,
            AbortCode::ConnectError => Reason::CONNECT_ERROR,
        });
        self.slot.clear();
        self.inbound.close();
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.finish_deferred();
        if !self.is_over() {
            self.send.send_reset(Reason::CANCEL);
        }
        self.inbound.close();
    }
}
