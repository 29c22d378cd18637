use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

use crate::cache::Cache;
use crate::fake::{FakePool, Lease};
use crate::limit::Limits;
use crate::message::{Key, Question};
use crate::names::Names;
use crate::{Config, ExtendedError, local, upstream};

/// Names one question to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(u64);

/// What an upstream shall be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamQuery {
    /// For [`handle_response`](Interceptor::handle_response) or
    /// [`handle_failure`](Interceptor::handle_failure).
    pub id: QueryId,
    /// The DNS message to send; its id is 0.
    pub message: Bytes,
    /// The name that it asks for, in lower case.
    pub name: Name,
}

/// Who asks, and how; `C` names a client among all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker<C> {
    /// For [`Answer::client`].
    pub client: C,
    /// The client's address, to which limits apply.
    pub source: IpAddr,
    /// How it asks.
    pub carrier: Carrier,
}

/// What a client shall hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<C> {
    /// Whoever asked.
    pub client: C,
    /// The DNS message to send.
    pub message: Bytes,
}

/// How a client asks; what it can be told at once depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// UDP: answers fit the client's EDNS size, or are truncated.
    Datagram,
    /// TCP: answers may have 65,535 bytes.
    Stream,
}

/// Counters since the interceptor was made. All of them only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages of clients.
    pub queries: u64,
    /// Those that were not questions to be asked further.
    pub rejected: u64,
    /// Those that were dropped because their source sent too many.
    pub dropped: u64,
    /// Questions that no resolver is needed for: special names, fake addresses, IPv6 where there is
    /// none.
    pub local: u64,
    /// Questions answered from the cache.
    pub hits: u64,
    /// Questions answered with an outlived answer (RFC 8767).
    pub stale: u64,
    /// Questions that joined one in flight.
    pub merged: u64,
    /// Questions to an upstream.
    pub upstream_queries: u64,
    /// Those that fetched a popular answer before it was outlived.
    pub refreshes: u64,
    /// Upstream questions that got no usable answer.
    pub failures: u64,
    /// Questions refused for want of room to wait.
    pub overloads: u64,
}

/// Answers questions from its cache, or has them asked upstream; `C` names a client.
///
/// * **Happened**: [`handle_query`](Self::handle_query),
///   [`handle_response`](Self::handle_response), [`handle_failure`](Self::handle_failure),
///   [`handle_timeout`](Self::handle_timeout).
/// * **Outputs**: [`poll_answer`](Self::poll_answer), [`poll_query`](Self::poll_query),
///   [`poll_timeout`](Self::poll_timeout). After anything of the above drain the first two until
///   they return nothing, then ask for the next time to call `handle_timeout`.
///
/// Every question is answered, at the latest when the upstream's time is over; only what is no
/// question at all hears silence.
#[derive(Debug)]
pub struct Interceptor<C> {
    config: Config,
    cache: Cache,
    limits: Limits,
    names: Names,
    fake: Option<FakePool>,
    /// Whether apps can use IPv6 addresses.
    ipv6: bool,
    /// In the order of their ids, which is that of their deadlines.
    pending: BTreeMap<QueryId, Pending<C>>,
    in_flight: HashMap<Key, QueryId>,
    /// Those whose clients get an outlived answer if the new one takes too long.
    impatient: BTreeMap<QueryId, Instant>,
    waiting: usize,
    next_id: u64,
    answers: VecDeque<Answer<C>>,
    queries: VecDeque<UpstreamQuery>,
    stats: Stats,
}

/// A question in flight.
#[derive(Debug)]
struct Pending<C> {
    key: Key,
    deadline: Option<Instant>,
    waiters: Vec<Waiter<C>>,
}

#[derive(Debug)]
struct Waiter<C> {
    asker: Asker<C>,
    question: Question,
}

impl<C> Interceptor<C> {
    /// An interceptor with an empty cache.
    pub fn new(config: Config) -> Self {
        Self {
            cache: Cache::new(&config),
            limits: Limits::new(config.max_rate_per_source, config.max_waiting_per_source),
            names: Names::new(),
            fake: config.fake_names.map(FakePool::new),
            ipv6: true,
            pending: BTreeMap::new(),
            in_flight: HashMap::new(),
            impatient: BTreeMap::new(),
            waiting: 0,
            next_id: 0,
            answers: VecDeque::new(),
            queries: VecDeque::new(),
            stats: Stats::default(),
            config,
        }
    }

    /// A client sent a message; says whether there will be an answer.
    pub fn handle_query(&mut self, now: Instant, asker: Asker<C>, message: &[u8]) -> bool {
        self.stats.queries += 1;
        if !self.limits.admit(now, asker.source) {
            self.stats.dropped += 1;
            return false;
        }
        match Question::read(message) {
            Ok(question) => {
                self.resolve(now, Waiter { asker, question });
                true
            }
            Err(rejection) => {
                self.stats.rejected += 1;
                let answer = rejection.answer(message);
                let answer = answer.map(|message| Answer { client: asker.client, message });
                let is_answered = answer.is_some();
                self.answers.extend(answer);
                is_answered
            }
        }
    }

    /// An upstream sent a message. One that is no answer to the question counts as a failure.
    pub fn handle_response(&mut self, now: Instant, id: QueryId, message: &[u8]) {
        let Some(pending) = self.take(id) else { return };
        match upstream::response(&pending.key, message) {
            Ok(answer) => self.settle(now, pending, answer),
            Err(_) => self.fail(now, pending, ExtendedError::InvalidData),
        }
    }

    /// No upstream can be asked, and why.
    pub fn handle_failure(&mut self, now: Instant, id: QueryId, cause: ExtendedError) {
        if let Some(pending) = self.take(id) {
            self.fail(now, pending, cause);
        }
    }

    /// Time has passed: questions without an answer get an outlived one, or fail.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((&id, at)) = self.impatient.first_key_value()
            && *at <= now
        {
            self.impatient.remove(&id);
            self.answer_stale(now, id);
        }
        while let Some((&id, pending)) = self.pending.first_key_value()
            && pending.deadline.is_some_and(|deadline| deadline <= now)
        {
            self.handle_failure(now, id, ExtendedError::NetworkError);
        }
    }

    /// The next answer for a client.
    #[must_use]
    pub fn poll_answer(&mut self) -> Option<Answer<C>> {
        self.answers.pop_front()
    }

    /// The next question for an upstream.
    #[must_use]
    pub fn poll_query(&mut self) -> Option<UpstreamQuery> {
        self.queries.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next; nothing while none waits.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let failing = self.pending.first_key_value().and_then(|(_, pending)| pending.deadline);
        let impatient = self.impatient.first_key_value().map(|(_, at)| *at);
        failing.into_iter().chain(impatient).min()
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Says whether apps can use IPv6 addresses. While they cannot, questions for them have empty
    /// answers, so that no app loses time with one. Initially they can.
    pub fn set_ipv6(&mut self, usable: bool) {
        self.ipv6 = usable;
    }

    /// The fake addresses, where the configuration has some.
    pub fn fake(&mut self) -> Option<&mut FakePool> {
        self.fake.as_mut()
    }

    /// The name behind a fake address, for a flow that keeps it so.
    pub fn lease(&mut self, address: IpAddr) -> Option<(Arc<str>, Lease)> {
        self.fake.as_mut()?.lease(address)
    }

    /// The name by which apps came by an address: its own where it is fake, otherwise the one that
    /// was asked for last among those that led to it.
    pub fn name_of(&mut self, address: IpAddr) -> Option<Arc<str>> {
        let fake = self.fake.as_ref().and_then(|pool| pool.name_of(address));
        fake.or_else(|| self.names.name_of(address))
    }

    /// The answers that are kept.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    fn resolve(&mut self, now: Instant, waiter: Waiter<C>) {
        if let Some(answer) = self.local_answer(now, &waiter.question) {
            self.stats.local += 1;
            self.answer(waiter, answer);
        } else {
            self.resolve_further(now, waiter);
        }
    }

    /// The answer that no resolver is needed for.
    fn local_answer(&mut self, now: Instant, question: &Question) -> Option<Message> {
        let has_own_server = self.config.private_names.contain(question.name());
        if !has_own_server && let Some(answer) = local::everywhere(question) {
            return Some(answer);
        }
        if question.record_type() == RecordType::AAAA && !self.ipv6 {
            return Some(local::no_data(question));
        }
        let pool = self.fake.as_mut().filter(|_| !has_own_server)?;
        local::fake(question, pool, now)
    }

    fn resolve_further(&mut self, now: Instant, waiter: Waiter<C>) {
        let key = waiter.question.key();
        if let Some(hit) = self.cache.get(now, &key) {
            self.stats.hits += 1;
            self.answer(waiter, hit.answer);
            if hit.refresh && !self.in_flight.contains_key(&key) {
                self.stats.refreshes += 1;
                self.ask(now, key, Vec::new());
            }
        } else if self.waiting >= self.config.max_waiting
            || !self.limits.may_wait(waiter.asker.source)
        {
            self.stats.overloads += 1;
            self.answer(waiter, failure(ExtendedError::Overloaded));
        } else {
            self.wait(now, key, waiter);
        }
    }

    /// Joins the same question in flight, or sends it on its way.
    fn wait(&mut self, now: Instant, key: Key, waiter: Waiter<C>) {
        self.waiting += 1;
        let id = self.in_flight.get(&key);
        if let Some(pending) = id.and_then(|id| self.pending.get_mut(id)) {
            self.stats.merged += 1;
            pending.waiters.push(waiter);
        } else {
            self.ask(now, key, vec![waiter]);
        }
    }

    fn ask(&mut self, now: Instant, key: Key, waiters: Vec<Waiter<C>>) {
        let id = QueryId(self.next_id);
        self.next_id += 1;
        self.stats.upstream_queries += 1;
        let (message, name) = (upstream::query(&key), key.query.name().clone());
        if self.cache.has_stale(now, &key)
            && let Some(at) = now.checked_add(self.config.stale_after)
        {
            self.impatient.insert(id, at);
        }
        let deadline = now.checked_add(self.config.timeout);
        self.in_flight.insert(key.clone(), id);
        self.pending.insert(id, Pending { key, deadline, waiters });
        match message {
            Some(message) => self.queries.push_back(UpstreamQuery { id, message, name }),
            None => self.handle_failure(now, id, ExtendedError::InvalidData),
        }
    }

    fn take(&mut self, id: QueryId) -> Option<Pending<C>> {
        let pending = self.pending.remove(&id)?;
        self.in_flight.remove(&pending.key);
        self.impatient.remove(&id);
        self.dismiss(&pending.waiters);
        Some(pending)
    }

    /// Who waited waits no longer.
    fn dismiss(&mut self, waiters: &[Waiter<C>]) {
        self.waiting -= waiters.len();
        for waiter in waiters {
            self.limits.done(waiter.asker.source);
        }
    }

    /// RFC 8767 §5: a client's patience ends before ours; what comes later still fills the cache.
    fn answer_stale(&mut self, now: Instant, id: QueryId) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        let Some(answer) = self.cache.get_stale(now, &pending.key) else { return };
        let waiters = std::mem::take(&mut pending.waiters);
        self.dismiss(&waiters);
        self.stats.stale += waiters.len() as u64;
        self.answer_all(waiters, &answer);
    }

    fn fail(&mut self, now: Instant, pending: Pending<C>, cause: ExtendedError) {
        self.stats.failures += 1;
        self.settle(now, pending, failure(cause));
    }

    fn settle(&mut self, now: Instant, pending: Pending<C>, answer: Message) {
        // RFC 8767 §4: better an outlived answer than none.
        if !matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
            && let Some(stale) = self.cache.get_stale(now, &pending.key)
        {
            self.stats.stale += pending.waiters.len() as u64;
            self.answer_all(pending.waiters, &stale);
            return;
        }
        self.names.learn(&pending.key, &answer);
        self.answer_all(pending.waiters, &answer);
        self.cache.insert(now, pending.key, answer);
    }

    fn answer_all(&mut self, waiters: Vec<Waiter<C>>, answer: &Message) {
        for waiter in waiters {
            self.answer(waiter, answer.clone());
        }
    }

    fn answer(&mut self, waiter: Waiter<C>, mut answer: Message) {
        if !self.ipv6 {
            local::drop_ipv6_hints(&mut answer);
        }
        let Waiter { asker, question } = waiter;
        let limit = usize::from(match asker.carrier {
            Carrier::Datagram => question.max_datagram().min(self.config.max_datagram),
            Carrier::Stream => u16::MAX,
        });
        let message = question.answer(answer, limit);
        self.answers.push_back(Answer { client: asker.client, message });
    }
}

fn failure(cause: ExtendedError) -> Message {
    cause.explain(Message::error_msg(0, OpCode::Query, ResponseCode::ServFail))
}
