use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::{Sink, Stream};
use pseudotcp_masque::{DatagramStream, TunnelError};

use crate::ledger::Ledger;
use crate::script::{End, Script, Sends};

/// How many datagrams wait for their reader; beyond it the oldest is dropped.
const MAX_WAITING: usize = 64;

/// The payload in bytes of a source's datagrams.
const SOURCE_DATAGRAM: usize = 1_200;

/// A UDP flow to a far side in memory. Its sink is always ready.
pub(crate) struct MockDatagrams {
    script: Arc<Script>,
    ledger: Arc<Ledger>,
    waiting: VecDeque<Bytes>,
    received: u64,
    dropped: u64,
    sent_bytes: u64,
    /// Whether the flow has ended, and whether the stream has told so.
    broken: bool,
    ended: bool,
    waker: Option<Waker>,
}

impl MockDatagrams {
    pub(crate) fn new(script: Arc<Script>, ledger: Arc<Ledger>) -> Self {
        Self {
            script,
            ledger,
            waiting: VecDeque::new(),
            received: 0,
            dropped: 0,
            sent_bytes: 0,
            broken: false,
            ended: false,
            waker: None,
        }
    }

    fn check(&self) -> Result<(), TunnelError> {
        if self.broken { Err((self.script.breakage)()) } else { Ok(()) }
    }

    fn receive(&mut self, datagram: Bytes) {
        if datagram.len() > self.script.max_datagram_size || !self.script.reads {
            self.dropped += 1;
            return;
        }
        self.received += 1;
        if self.script.sends == Sends::Echo {
            if self.waiting.len() == MAX_WAITING {
                self.waiting.pop_front();
                self.dropped += 1;
            }
            self.waiting.push_back(datagram);
        }
        self.broken = self.script.break_after.is_some_and(|limit| self.received >= limit);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn next_datagram(&mut self) -> Option<Bytes> {
        let Sends::Block { block, total, after_our_end: false } = &self.script.sends else {
            return self.waiting.pop_front();
        };
        let left = usize::try_from(total - self.sent_bytes).unwrap_or(usize::MAX);
        let length = left.min(block.len()).min(SOURCE_DATAGRAM);
        self.sent_bytes += length as u64;
        (length > 0).then(|| block.slice(..length))
    }
}

impl Sink<Bytes> for MockDatagrams {
    type Error = TunnelError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        Poll::Ready(self.check())
    }

    fn start_send(mut self: Pin<&mut Self>, item: Bytes) -> Result<(), TunnelError> {
        self.check()?;
        self.receive(item);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        Poll::Ready(Ok(()))
    }
}

impl Stream for MockDatagrams {
    type Item = Result<Bytes, TunnelError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(datagram) = self.next_datagram() {
            return Poll::Ready(Some(Ok(datagram)));
        }
        if let Err(error) = self.check() {
            self.ended = true;
            return Poll::Ready(Some(Err(error)));
        }
        if self.script.end == End::AtOnce {
            self.ended = true;
            return Poll::Ready(None);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl DatagramStream for MockDatagrams {
    fn max_datagram_size(&self) -> usize {
        self.script.max_datagram_size
    }
}

impl Drop for MockDatagrams {
    fn drop(&mut self) {
        self.ledger.record(|stats| {
            stats.datagram_flows_ended += 1;
            stats.datagrams_received += self.received;
            stats.datagrams_dropped += self.dropped;
        });
    }
}
