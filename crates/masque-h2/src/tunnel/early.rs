//! A UDP flow that sends before the proxy has answered.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Sink, Stream};
use h2::{RecvStream, SendStream};
use pseudotcp_masque::datagram::{Format, MAX_PAYLOAD};
use pseudotcp_masque::{DatagramStream, OpenError, TunnelError};

use super::datagrams::{Datagrams, poll_send};
use super::outbox::Outbox;
use crate::connection::Permit;
use crate::request::Accepted;
use crate::state::{Counters, count};

/// How many datagrams may leave before the answer.
const MOST: usize = 64;

/// The proxy's answer to come.
type Answering = Pin<Box<dyn Future<Output = Result<RecvStream, OpenError>> + Send>>;

/// A connect-udp stream, open in advance: before the answer it sends 64 datagrams at the most, and
/// drops what is more.
pub(crate) struct Early {
    stage: Stage,
    counters: Arc<Counters>,
}

enum Stage {
    Waiting(Box<Waiting>),
    Open(Datagrams),
    /// What the owner has not heard yet.
    Refused(Option<TunnelError>),
}

struct Waiting {
    answer: Answering,
    send: SendStream<Bytes>,
    permit: Permit,
    outbox: Outbox,
    /// How many datagrams were taken.
    taken: usize,
}

impl Early {
    pub(crate) fn new(
        answer: Answering,
        send: SendStream<Bytes>,
        permit: Permit,
        counters: Arc<Counters>,
    ) -> Self {
        let outbox = Outbox::new(Format::Rfc9298, Arc::clone(&counters));
        let waiting = Waiting { answer, send, permit, outbox, taken: 0 };
        Self { stage: Stage::Waiting(Box::new(waiting)), counters }
    }

    /// Ready when the proxy has answered.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Stage::Waiting(waiting) = &mut self.stage else { return Poll::Ready(()) };
        let answer = ready!(waiting.answer.as_mut().poll(cx));
        let Stage::Waiting(waiting) = std::mem::replace(&mut self.stage, Stage::Refused(None))
        else {
            return Poll::Ready(());
        };
        let Waiting { send, permit, outbox, taken, .. } = *waiting;
        self.stage = match answer {
            Ok(recv) => {
                let accepted = Accepted { permit, send, recv };
                Stage::Open(Datagrams::with_outbox(accepted, outbox, Arc::clone(&self.counters)))
            }
            Err(error) => {
                count(&self.counters.datagrams_dropped, taken as u64);
                Stage::Refused(Some(end(error)))
            }
        };
        Poll::Ready(())
    }
}

/// What the owner of an open flow hears of a refusal.
fn end(refusal: OpenError) -> TunnelError {
    match refusal {
        OpenError::ProxyGone(_) => TunnelError::ProxyGone,
        OpenError::Protocol(source) => TunnelError::Protocol(source),
        OpenError::TimedOut(_) | OpenError::Overloaded { .. } | OpenError::Unauthenticated(_) => {
            TunnelError::Reset
        }
        _ => TunnelError::Unreachable,
    }
}

impl Stream for Early {
    type Item = Result<Bytes, TunnelError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        ready!(self.poll_answer(cx));
        match &mut self.stage {
            Stage::Waiting(_) => Poll::Pending,
            Stage::Open(datagrams) => Pin::new(datagrams).poll_next(cx),
            Stage::Refused(error) => Poll::Ready(error.take().map(Err)),
        }
    }
}

impl Sink<Bytes> for Early {
    type Error = TunnelError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        let _answered = self.poll_answer(cx);
        match &mut self.stage {
            Stage::Waiting(_) => Poll::Ready(Ok(())),
            Stage::Open(datagrams) => Pin::new(datagrams).poll_ready(cx),
            Stage::Refused(error) => Poll::Ready(Err(error.take().unwrap_or(TunnelError::Reset))),
        }
    }

    fn start_send(mut self: Pin<&mut Self>, datagram: Bytes) -> Result<(), TunnelError> {
        let Self { stage, counters } = &mut *self;
        match stage {
            Stage::Waiting(waiting) if waiting.taken < MOST => {
                waiting.taken += 1;
                waiting.outbox.push(datagram);
                Ok(())
            }
            Stage::Open(datagrams) => Pin::new(datagrams).start_send(datagram),
            Stage::Waiting(_) | Stage::Refused(_) => {
                count(&counters.datagrams_dropped, 1);
                Ok(())
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        match &mut self.stage {
            // Where the proxy takes nothing any more, its answer says why.
            Stage::Waiting(waiting) => {
                let Waiting { send, outbox, permit, .. } = &mut **waiting;
                poll_send(send, outbox, permit, cx).map(|_| Ok(()))
            }
            Stage::Open(datagrams) => Pin::new(datagrams).poll_flush(cx),
            Stage::Refused(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        ready!(self.as_mut().poll_flush(cx))?;
        ready!(self.poll_answer(cx));
        match &mut self.stage {
            Stage::Open(datagrams) => Pin::new(datagrams).poll_close(cx),
            Stage::Waiting(_) | Stage::Refused(_) => Poll::Ready(Ok(())),
        }
    }
}

impl DatagramStream for Early {
    fn max_datagram_size(&self) -> usize {
        MAX_PAYLOAD
    }
}
