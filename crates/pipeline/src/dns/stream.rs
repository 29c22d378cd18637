use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{Sink, Stream};
use pseudotcp_masque::{AbortCode, ByteStream, TunnelError};

use super::desk::Client;
use crate::clock;
use crate::timer::Timer;

/// The length that precedes every message on a stream (RFC 1035 §4.2.2).
const PREFIX: usize = 2;

/// The most questions of one stream that may be under way; its app waits with more.
const MAX_OUTSTANDING: usize = 256;

/// RFC 7766 §6.2.3: a connection without questions ends after seconds, not minutes.
const IDLE: Duration = Duration::from_secs(30);

/// A TCP flow that speaks DNS: any number of questions, each answered when its answer is known
/// (RFC 7766 §6.2.1.1: not necessarily in their order).
pub(super) struct StreamClient {
    client: Client,
    /// What the app has sent and nobody has asked yet: less than a message, unless many questions
    /// are under way.
    unread: BytesMut,
    writer: Option<Waker>,
    /// When the last question or answer passed.
    active: Instant,
    timer: Timer,
    /// The app has sent everything.
    closed: bool,
    aborted: bool,
}

impl StreamClient {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            unread: BytesMut::new(),
            writer: None,
            active: clock::now(),
            timer: Timer::default(),
            closed: false,
            aborted: false,
        }
    }

    /// The length of the whole message that the unread bytes begin with.
    fn message_len(&self) -> Option<usize> {
        let prefix = self.unread.first_chunk::<PREFIX>()?;
        let len = usize::from(u16::from_be_bytes(*prefix));
        (self.unread.len() >= PREFIX + len).then_some(len)
    }

    /// Asks what has arrived whole, while not too much is under way.
    fn ask(&mut self) {
        while let Some(len) = self.message_len()
            && self.client.outstanding() < MAX_OUTSTANDING
        {
            self.unread.advance(PREFIX);
            self.client.ask(&self.unread.split_to(len));
        }
        if self.message_len().is_none()
            && let Some(writer) = self.writer.take()
        {
            writer.wake();
        }
    }

    /// Whether nothing will come any more: the app has all its answers and has ended, or has had
    /// nothing to ask for long.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        if self.client.outstanding() > 0 {
            return false;
        }
        let deadline = self.active + IDLE;
        self.timer.arm(Some(deadline), cx);
        self.closed || clock::now() >= deadline
    }
}

impl Sink<Bytes> for StreamClient {
    type Error = TunnelError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        if self.aborted {
            return Poll::Ready(Err(TunnelError::Reset));
        }
        if self.message_len().is_some() {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, item: Bytes) -> Result<(), TunnelError> {
        self.active = clock::now();
        self.unread.extend_from_slice(&item);
        self.ask();
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.closed = true;
        self.client.wake();
        Poll::Ready(Ok(()))
    }
}

impl Stream for StreamClient {
    type Item = Result<Bytes, TunnelError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.aborted {
            return Poll::Ready(None);
        }
        match self.client.poll_answer(cx) {
            Poll::Ready(answer) => {
                self.active = clock::now();
                self.ask();
                Poll::Ready(Some(Ok(framed(&answer))))
            }
            Poll::Pending if self.is_over(cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl ByteStream for StreamClient {
    fn abort(&mut self, _: AbortCode) {
        self.aborted = true;
        self.client.wake();
    }
}

/// A message with its length in front; none is longer than the length can tell.
fn framed(message: &[u8]) -> Bytes {
    let len = u16::try_from(message.len()).unwrap_or_default();
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u16(len);
    framed.put_slice(message);
    framed.freeze()
}
