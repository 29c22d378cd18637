//! Opens in progress: one set of futures, no task each.

use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::future::{AbortHandle, Abortable, BoxFuture};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use pseudotcp_masque::{ByteTunnel, DatagramTunnel, OpenError, OpenRequest};
use pseudotcp_packet::FlowKey;

/// An open that has come to an end.
pub(super) enum Opened {
    Tcp(pseudotcp_tcp::FlowId, Result<ByteTunnel, OpenError>),
    Udp(pseudotcp_udp::FlowId, Result<DatagramTunnel, OpenError>),
    /// Of a host that was pinged.
    Probe(IpAddr, Result<(), OpenError>),
}

/// The opens in progress. Dropping one's [`AbortHandle`] does not end it; aborting it does, and
/// cancels it at the proxy.
#[derive(Default)]
pub(super) struct Opens {
    futures: FuturesUnordered<Abortable<BoxFuture<'static, Opened>>>,
}

impl Opens {
    /// Starts an open; the handle cancels it.
    pub(super) fn start(
        &mut self,
        open: impl Future<Output = Opened> + Send + 'static,
    ) -> AbortHandle {
        let (handle, registration) = AbortHandle::new_pair();
        self.futures.push(Abortable::new(open.boxed(), registration));
        handle
    }

    /// The next open that has ended and was not cancelled.
    pub(super) fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<Opened> {
        loop {
            match self.futures.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(opened))) => return Poll::Ready(opened),
                Poll::Ready(Some(Err(_aborted))) => {}
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// How many opens are in progress.
    pub(super) fn len(&self) -> usize {
        self.futures.len()
    }
}

/// The request that opens `flow` by `deadline`.
pub(super) fn request(flow: &FlowKey, deadline: Instant) -> OpenRequest {
    OpenRequest::new(flow.destination()).with_source(flow.source()).with_deadline(deadline)
}
