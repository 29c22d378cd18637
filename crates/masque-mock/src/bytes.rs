use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use futures::{Sink, Stream};
use pseudotcp_masque::{AbortCode, ByteStream, Target, TunnelError};

use crate::ledger::{Ending, FlowEnd, Ledger};
use crate::script::{End, Script, Sends};

/// A TCP flow to a far side in memory. Both ends live here; each poll lets the far side act.
pub(crate) struct MockBytes {
    target: Target,
    script: Arc<Script>,
    ledger: Arc<Ledger>,
    /// The sink's one item.
    slot: Option<Bytes>,
    /// What an echo has read and not sent back yet.
    echo: VecDeque<Bytes>,
    echo_len: usize,
    received: u64,
    sent: u64,
    our_end: bool,
    their_end: bool,
    /// How the flow ended; set once, and recorded then.
    ending: Option<Ending>,
    /// Whether the stream has told the error of a flow that ended early.
    error_told: bool,
    sink_waker: Option<Waker>,
    stream_waker: Option<Waker>,
}

impl MockBytes {
    pub(crate) fn new(target: Target, script: Arc<Script>, ledger: Arc<Ledger>) -> Self {
        Self {
            target,
            script,
            ledger,
            slot: None,
            echo: VecDeque::new(),
            echo_len: 0,
            received: 0,
            sent: 0,
            our_end: false,
            their_end: false,
            ending: None,
            error_told: false,
            sink_waker: None,
            stream_waker: None,
        }
    }

    /// The error that both directions give once the flow has ended early.
    fn check(&self) -> Result<(), TunnelError> {
        match self.ending {
            None | Some(Ending::Finished) => Ok(()),
            Some(Ending::Broken) => Err((self.script.breakage)()),
            Some(Ending::Aborted(_) | Ending::Dropped) => Err(TunnelError::Reset),
        }
    }

    /// Lets the far side read the slot, and waits where it does not.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.check()?;
        self.receive();
        if self.slot.is_none() {
            return Poll::Ready(Ok(()));
        }
        self.sink_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The far side reads the slot, if it has room.
    fn receive(&mut self) {
        let echoes = self.script.sends == Sends::Echo;
        let has_room = self.script.reads && self.echo_len < self.script.capacity;
        let Some(chunk) = self.slot.take_if(|_| has_room) else { return };
        self.received += chunk.len() as u64;
        if echoes {
            self.echo_len += chunk.len();
            self.echo.push_back(chunk);
            wake(&mut self.stream_waker);
        }
        if self.script.break_after.is_some_and(|limit| self.received >= limit) {
            self.end(Ending::Broken);
        }
    }

    /// The next chunk of the far side; `None` where it has nothing more to say for now.
    fn next_chunk(&mut self) -> Option<Bytes> {
        let chunk = match &self.script.sends {
            Sends::Nothing => return None,
            Sends::Echo => {
                let chunk = self.echo.pop_front()?;
                self.echo_len -= chunk.len();
                chunk
            }
            Sends::Block { block, total, after_our_end } => {
                let due = self.our_end || !after_our_end;
                let left = usize::try_from(total - self.sent).unwrap_or(usize::MAX);
                let length = if due { left.min(block.len()) } else { 0 };
                if length == 0 {
                    return None;
                }
                block.slice(..length)
            }
        };
        self.sent += chunk.len() as u64;
        Some(chunk)
    }

    /// The far side has nothing to send: what it does now.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TunnelError>>> {
        let all_sent = match &self.script.sends {
            Sends::Nothing | Sends::Echo => true,
            Sends::Block { total, .. } => self.sent == *total,
        };
        match self.script.end {
            End::AtOnce if all_sent => {}
            End::AfterUs if all_sent && self.our_end => {}
            End::Break if all_sent && (self.sent > 0 || self.our_end) => {
                self.end(Ending::Broken);
                self.error_told = true;
                return Poll::Ready(Some(Err((self.script.breakage)())));
            }
            _ => {
                self.stream_waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        self.their_end = true;
        self.finish_if_both_ended();
        Poll::Ready(None)
    }

    fn finish_if_both_ended(&mut self) {
        if self.our_end && self.their_end {
            self.end(Ending::Finished);
        }
    }

    /// Ends the flow for good; only the first ending counts.
    fn end(&mut self, ending: Ending) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(ending);
        self.ledger.record_end(FlowEnd {
            target: self.target.clone(),
            received: self.received,
            sent: self.sent,
            ending,
        });
        if ending != Ending::Finished {
            self.slot = None;
            self.echo.clear();
        }
        wake(&mut self.sink_waker);
        wake(&mut self.stream_waker);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl Sink<Bytes> for MockBytes {
    type Error = TunnelError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.poll_push(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, item: Bytes) -> Result<(), TunnelError> {
        debug_assert!(self.slot.is_none() && !self.our_end);
        self.check()?;
        self.slot = Some(item);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.poll_push(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        ready!(self.poll_push(cx))?;
        self.our_end = true;
        self.finish_if_both_ended();
        wake(&mut self.stream_waker);
        Poll::Ready(Ok(()))
    }
}

impl Stream for MockBytes {
    type Item = Result<Bytes, TunnelError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.their_end || self.error_told {
            return Poll::Ready(None);
        }
        self.receive();
        if let Err(error) = self.check() {
            self.error_told = true;
            return Poll::Ready(Some(Err(error)));
        }
        let Some(chunk) = self.next_chunk() else { return self.poll_end(cx) };
        // The echo has room again.
        self.receive();
        if self.slot.is_none() {
            wake(&mut self.sink_waker);
        }
        Poll::Ready(Some(Ok(chunk)))
    }
}

impl ByteStream for MockBytes {
    fn abort(&mut self, code: AbortCode) {
        self.end(Ending::Aborted(code));
    }
}

impl Drop for MockBytes {
    fn drop(&mut self) {
        self.end(Ending::Dropped);
    }
}
