//! DATA that tells when it has left.
//!
//! HTTP/2 throws away what a stream has queued as soon as the stream is reset. A target's reset must
//! not overtake its last words, so a tunnel has to know when nothing of it is queued any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use futures::task::AtomicWaker;

/// The payload of a DATA frame.
#[derive(Debug)]
pub(crate) struct Data {
    bytes: Bytes,
    _ticket: Option<Ticket>,
}

impl Buf for Data {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

/// What one tunnel has queued.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queued: AtomicUsize,
    emptied: AtomicWaker,
}

impl Queue {
    /// DATA that belongs to this queue until HTTP/2 has written it, or thrown it away.
    pub(crate) fn data(&self, bytes: Bytes) -> Data {
        self.0.queued.fetch_add(1, Ordering::AcqRel);
        Data { bytes, _ticket: Some(Ticket(Arc::clone(&self.0))) }
    }

    /// The empty DATA at the end of a stream.
    pub(crate) fn end() -> Data {
        Data { bytes: Bytes::new(), _ticket: None }
    }

    /// Ready when nothing is queued.
    pub(crate) fn poll_empty(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.emptied.register(cx.waker());
        if self.0.queued.load(Ordering::Acquire) == 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[derive(Debug)]
struct Ticket(Arc<Shared>);

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.0.queued.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.emptied.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_queue_is_empty_when_all_its_data_is_gone() {
        let queue = Queue::default();
        let empty = || queue.poll_empty(&mut Context::from_waker(Waker::noop())).is_ready();
        assert!(empty());
        let (one, two) = (queue.data(Bytes::from_static(b"a")), queue.data(Bytes::new()));
        drop(one);
        assert!(!empty());
        drop((two, Queue::end()));
        assert!(empty());
    }
}
