use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::task::AtomicWaker;
use pseudotcp_dns::fake::{FakePool, Lease};
use pseudotcp_dns::{Asker, Carrier, Interceptor, QueryId, Stats, UpstreamQuery};

use super::Resolved;
use crate::clock;

/// The most answers that wait for a client that does not take them; the oldest go first.
const MAX_ANSWERS: usize = 2_048;

/// How long the proxy's word that it has no IPv6 is taken for granted.
const NO_IPV6: Duration = Duration::from_mins(10);

/// Where clients and the service meet: the interceptor, and a pigeon-hole for each client.
///
/// The lock is held for one message at a time and never across a wait.
pub(super) struct Desk {
    state: Mutex<State>,
    service: AtomicWaker,
}

struct State {
    interceptor: Interceptor<u64>,
    holes: HashMap<u64, PigeonHole>,
    next_client: u64,
    queries: VecDeque<UpstreamQuery>,
    /// The proxy has no IPv6; whether that is still so is tried then.
    no_ipv6_until: Option<Instant>,
}

#[derive(Default)]
struct PigeonHole {
    answers: VecDeque<Bytes>,
    expected: usize,
    waker: Option<Waker>,
}

impl Desk {
    pub(super) fn new(config: pseudotcp_dns::Config, ipv6: bool) -> Self {
        let mut interceptor = Interceptor::new(config);
        interceptor.set_ipv6(ipv6);
        let state = State {
            interceptor,
            no_ipv6_until: None,
            holes: HashMap::new(),
            next_client: 0,
            queries: VecDeque::new(),
        };
        Self { state: Mutex::new(state), service: AtomicWaker::new() }
    }

    /// A client comes in; it leaves when it is dropped.
    pub(super) fn enter(self: &Arc<Self>, source: IpAddr, carrier: Carrier) -> Client {
        let mut state = self.state();
        let id = state.next_client;
        state.next_client += 1;
        state.holes.insert(id, PigeonHole::default());
        Client { desk: Arc::clone(self), asker: Asker { client: id, source, carrier } }
    }

    /// Works on the pool of fake addresses, where there is one.
    pub(super) fn with_fake<T>(&self, work: impl FnOnce(&mut FakePool) -> T) -> Option<T> {
        self.state().interceptor.fake().map(work)
    }

    pub(super) fn lease(&self, address: IpAddr) -> Option<(Arc<str>, Lease)> {
        self.state().interceptor.lease(address)
    }

    pub(super) fn name_of(&self, address: IpAddr) -> Option<Arc<str>> {
        self.state().interceptor.name_of(address)
    }

    /// The proxy says that it has no IPv6.
    pub(super) fn without_ipv6(&self, now: Instant) {
        let mut state = self.state();
        state.interceptor.set_ipv6(false);
        state.no_ipv6_until = Some(now + NO_IPV6);
    }

    /// The proxy has IPv6.
    pub(super) fn with_ipv6(&self) {
        let mut state = self.state();
        state.interceptor.set_ipv6(true);
        state.no_ipv6_until = None;
    }

    pub(super) fn stats(&self) -> Stats {
        *self.state().interceptor.stats()
    }

    /// Has the service woken when there is something to ask, or to wait for.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.service.register(cx.waker());
    }

    /// What shall be asked now, and when to look again.
    pub(super) fn work(&self, now: Instant) -> (VecDeque<UpstreamQuery>, Option<Instant>) {
        let mut state = self.state();
        if state.interceptor.poll_timeout().is_some_and(|deadline| deadline <= now) {
            state.interceptor.handle_timeout(now);
            state.hand_out();
        }
        (std::mem::take(&mut state.queries), state.interceptor.poll_timeout())
    }

    /// A question has its answer, or never will.
    pub(super) fn settle(&self, now: Instant, id: QueryId, outcome: Resolved) {
        let mut state = self.state();
        match outcome {
            Ok(message) => state.interceptor.handle_response(now, id, &message),
            Err(cause) => state.interceptor.handle_failure(now, id, cause),
        }
        state.hand_out();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Puts answers into their holes, and questions on the service's pile.
    fn hand_out(&mut self) {
        while let Some(answer) = self.interceptor.poll_answer() {
            if let Some(hole) = self.holes.get_mut(&answer.client) {
                hole.put(answer.message);
            }
        }
        self.queries.extend(std::iter::from_fn(|| self.interceptor.poll_query()));
    }
}

impl PigeonHole {
    fn put(&mut self, answer: Bytes) {
        if self.answers.len() == MAX_ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back(answer);
        self.expected = self.expected.saturating_sub(1);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// One app's flow to a DNS server, as the desk sees it.
pub(super) struct Client {
    desk: Arc<Desk>,
    asker: Asker<u64>,
}

impl Client {
    /// Asks; the answer may be there at once.
    pub(super) fn ask(&self, message: &[u8]) {
        let now = clock::now();
        let mut state = self.desk.state();
        if state.no_ipv6_until.is_some_and(|until| until <= now) {
            state.no_ipv6_until = None;
            state.interceptor.set_ipv6(true);
        }
        let is_answered = state.interceptor.handle_query(now, self.asker, message);
        if let Some(hole) = state.holes.get_mut(&self.asker.client) {
            hole.expected += usize::from(is_answered);
        }
        state.hand_out();
        if !state.queries.is_empty() {
            self.desk.service.wake();
        }
    }

    /// The next answer.
    pub(super) fn poll_answer(&self, cx: &Context<'_>) -> Poll<Bytes> {
        let mut state = self.desk.state();
        let Some(hole) = state.holes.get_mut(&self.asker.client) else { return Poll::Pending };
        if let Some(answer) = hole.answers.pop_front() {
            return Poll::Ready(answer);
        }
        hole.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Has whoever waits for an answer look again.
    pub(super) fn wake(&self) {
        if let Some(hole) = self.desk.state().holes.get_mut(&self.asker.client) {
            hole.wake();
        }
    }

    /// How many answers are still to come or to be taken.
    pub(super) fn outstanding(&self) -> usize {
        let state = self.desk.state();
        state.holes.get(&self.asker.client).map_or(0, |hole| hole.expected + hole.answers.len())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.desk.state().holes.remove(&self.asker.client);
    }
}
