use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use pseudotcp_dns::{QueryId, UpstreamQuery};

use super::Resolved;
use super::desk::Desk;
use crate::clock;
use crate::timer::Timer;

/// The most answers of one poll, so that other tasks of the thread get their turn.
const ANSWERS_PER_POLL: usize = 64;

type Resolve = Box<dyn Fn(UpstreamQuery) -> BoxFuture<'static, Resolved> + Send>;

/// The future that asks resolvers what the cache of a [`Dns`](super::Dns) stage does not know. It
/// never ends; without it such questions have no answer.
#[must_use = "questions are not asked unless it is polled"]
pub struct Service {
    desk: Arc<Desk>,
    resolve: Resolve,
    exchanges: FuturesUnordered<BoxFuture<'static, (QueryId, Resolved)>>,
    timer: Timer,
}

impl Service {
    pub(super) fn new(desk: Arc<Desk>, resolve: Resolve) -> Self {
        Self { desk, resolve, exchanges: FuturesUnordered::new(), timer: Timer::default() }
    }

    fn ask(&self, query: UpstreamQuery) {
        let id = query.id;
        let exchange = (self.resolve)(query);
        self.exchanges.push(exchange.map(move |outcome| (id, outcome)).boxed());
    }
}

impl Future for Service {
    type Output = Infallible;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Infallible> {
        self.desk.register(cx);
        for _ in 0..ANSWERS_PER_POLL {
            let (queries, deadline) = self.desk.work(clock::now());
            for query in queries {
                self.ask(query);
            }
            let Poll::Ready(Some((id, outcome))) = self.exchanges.poll_next_unpin(cx) else {
                self.timer.arm(deadline, cx);
                return Poll::Pending;
            };
            self.desk.settle(clock::now(), id, outcome);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("asking", &self.exchanges.len()).finish_non_exhaustive()
    }
}
