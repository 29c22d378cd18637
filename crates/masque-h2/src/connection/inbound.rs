//! The receiving half of a flow: drained by the connection's driver, emptied by the flow's owner.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use pseudotcp_masque::TunnelError;
use pseudotcp_masque::capsule::CapsuleError;
use tokio::time::Instant;

use super::link::{Drain, Link};
use super::windows::Share;

/// Why a flow ended other than cleanly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The peer reset the stream, or the owner did.
    Reset,
    /// The target of a datagram flow cannot be reached.
    Unreachable,
    /// The connection is gone.
    ProxyGone,
    /// The peer broke HTTP/2's rules for the stream.
    Http(Reason),
    /// The peer broke the capsule protocol.
    Capsule(CapsuleError),
}

impl From<h2::Error> for Fault {
    fn from(error: h2::Error) -> Self {
        match error.reason() {
            Some(_) if error.is_reset() && error.is_remote() => Self::Reset,
            Some(reason) if error.is_reset() => Self::Http(reason),
            // I/O errors and GOAWAY.
            _ => Self::ProxyGone,
        }
    }
}

impl From<Fault> for TunnelError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Reset => Self::Reset,
            Fault::Unreachable => Self::Unreachable,
            Fault::ProxyGone => Self::ProxyGone,
            Fault::Http(reason) => Self::Protocol(h2::Error::from(reason).into()),
            Fault::Capsule(error) => Self::Protocol(error.into()),
        }
    }
}

/// What a flow does with the bytes that arrive.
pub(crate) trait Queue: Send + 'static {
    /// Takes a chunk, and tells how many bytes the peer may send in its place already.
    fn push(&mut self, chunk: Bytes) -> Result<usize, Fault>;

    /// The next item for the owner, and how many bytes the peer may send in its place.
    fn pop(&mut self) -> Option<(Bytes, usize)>;

    /// After the last chunk: how the flow ended.
    fn finish(&mut self, recv: &mut RecvStream, cx: &mut Context<'_>) -> Poll<Result<(), Fault>>;

    /// What a fault of the stream means to this kind of flow.
    fn judge(&self, error: h2::Error) -> Fault {
        error.into()
    }
}

/// One flow's receiving half. What a queue holds and has not released counts as held on the link.
pub(crate) struct Inbound<Q> {
    link: Arc<Link>,
    /// The number of the stream.
    stream: u32,
    /// Whether the stream is on the driver's list.
    listed: AtomicBool,
    state: Mutex<State<Q>>,
}

struct State<Q> {
    /// Taken out when the flow is closed: HTTP/2's own state holds a waker that holds this.
    recv: Option<RecvStream>,
    queue: Q,
    /// Bytes in the queue that have not been released, and since when the owner has taken none.
    held: usize,
    stalled: Option<Instant>,
    share: Share,
    end: Option<Result<(), Fault>>,
    /// Whether the owner has heard of the end.
    told: bool,
    reader: Option<Waker>,
}

impl<Q: Queue> Inbound<Q> {
    pub(crate) fn new(link: Arc<Link>, recv: RecvStream, queue: Q) -> Arc<Self> {
        let stream = recv.stream_id().as_u32();
        let state = State {
            recv: Some(recv),
            queue,
            held: 0,
            stalled: None,
            share: Share::default(),
            end: None,
            told: false,
            reader: None,
        };
        let (listed, state) = (AtomicBool::new(false), Mutex::new(state));
        let inbound = Arc::new(Self { link, stream, listed, state });
        let weak: Weak<dyn Drain> = Arc::<Self>::downgrade(&inbound);
        inbound.link.register(stream, weak);
        // From here on the stream wakes the driver.
        Arc::clone(&inbound).drain();
        inbound
    }

    /// The next item: exactly its bytes go back to the peer as window.
    pub(crate) fn poll_next(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, TunnelError>>> {
        let mut state = self.lock();
        if let Some(item) = state.take(&self.link) {
            return Poll::Ready(Some(Ok(item)));
        }
        match state.end {
            Some(Err(fault)) if !state.told => {
                state.told = true;
                Poll::Ready(Some(Err(fault.into())))
            }
            Some(_) => Poll::Ready(None),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Fails when the flow has ended other than cleanly.
    pub(crate) fn check(&self) -> Result<(), TunnelError> {
        match self.lock().end {
            Some(Err(fault)) => Err(fault.into()),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// How the flow ended, as far as its owner can know by now.
    pub(crate) fn end(self: &Arc<Self>) -> Option<Result<(), Fault>> {
        Arc::clone(self).drain();
        self.lock().end
    }

    /// Ends the flow from this side: what has arrived is dropped, and nothing more is taken.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        while state.take(&self.link).is_some() {}
        state.end.get_or_insert(Err(Fault::Reset));
        state.recv = None;
        self.link.forget(self.stream);
    }

    fn lock(&self) -> MutexGuard<'_, State<Q>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Q: Queue> State<Q> {
    /// The next item for the owner. Its bytes go back to the peer.
    fn take(&mut self, link: &Link) -> Option<Bytes> {
        let (item, released) = self.queue.pop()?;
        link.let_go(released);
        link.gauge.count(&mut self.share, released);
        self.held -= released;
        self.stalled = (self.held > 0).then(Instant::now);
        self.release(released);
        Some(item)
    }

    /// Keeps what has arrived for the owner; some of its bytes may go back to the peer already.
    fn keep(&mut self, link: &Link, chunk: Bytes) -> Result<(), Fault> {
        let length = chunk.len();
        let released = self.queue.push(chunk)?;
        let held = length - released;
        link.hold(held);
        link.gauge.count(&mut self.share, released);
        self.held += held;
        if self.held > 0 {
            self.stalled.get_or_insert_with(Instant::now);
        }
        self.release(released);
        Ok(())
    }

    fn release(&mut self, bytes: usize) {
        if bytes > 0
            && let Some(recv) = &mut self.recv
        {
            // Fails only for more than was received, which cannot be.
            let _released = recv.flow_control().release_capacity(bytes);
        }
    }

    /// Takes what has arrived; tells whether there was anything.
    fn take_arrived(&mut self, link: &Link, cx: &mut Context<'_>) -> bool {
        let mut changed = false;
        while self.end.is_none()
            && let Some(recv) = &mut self.recv
            && let Poll::Ready(arrived) = recv.poll_data(cx)
        {
            match arrived {
                Some(Ok(chunk)) => {
                    if let Err(fault) = self.keep(link, chunk) {
                        self.end = Some(Err(fault));
                    }
                }
                Some(Err(error)) => self.end = Some(Err(self.queue.judge(error))),
                None => match self.queue.finish(recv, cx) {
                    Poll::Ready(end) => self.end = Some(end),
                    Poll::Pending => return changed,
                },
            }
            changed = true;
        }
        changed
    }
}

impl<Q: Queue> Drain for Inbound<Q> {
    fn drain(self: Arc<Self>) {
        self.listed.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self));
        let mut state = self.lock();
        let changed = state.take_arrived(&self.link, &mut Context::from_waker(&waker));
        let reader = if changed { state.reader.take() } else { None };
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn stalled_since(&self) -> Option<Instant> {
        self.lock().stalled
    }

    fn give_up(&self) {
        self.close();
        let reader = self.lock().reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl<Q: Queue> Wake for Inbound<Q> {
    fn wake(self: Arc<Self>) {
        if !self.listed.swap(true, Ordering::SeqCst) {
            let link = Arc::clone(&self.link);
            link.wake(self);
        }
    }
}
