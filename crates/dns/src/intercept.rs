use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use hickory_proto::op::{Message, OpCode, ResponseCode};

use crate::cache::Cache;
use crate::message::{Key, Question};
use crate::{Config, upstream};

/// Names one question to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(u64);

/// What an upstream shall be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamQuery {
    /// For [`handle_response`](Interceptor::handle_response) or
    /// [`handle_failure`](Interceptor::handle_failure).
    pub id: QueryId,
    /// The DNS message to send.
    pub message: Bytes,
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
    /// Questions answered from the cache.
    pub hits: u64,
    /// Questions that joined one in flight.
    pub merged: u64,
    /// Questions to an upstream.
    pub upstream_queries: u64,
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
    /// In the order of their ids, which is that of their deadlines.
    pending: BTreeMap<QueryId, Pending<C>>,
    in_flight: HashMap<Key, QueryId>,
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
    client: C,
    question: Question,
    limit: usize,
}

impl<C> Interceptor<C> {
    /// An interceptor with an empty cache.
    pub fn new(config: Config) -> Self {
        Self {
            cache: Cache::new(&config),
            pending: BTreeMap::new(),
            in_flight: HashMap::new(),
            waiting: 0,
            next_id: 0,
            answers: VecDeque::new(),
            queries: VecDeque::new(),
            stats: Stats::default(),
            config,
        }
    }

    /// A client sent a message.
    pub fn handle_query(&mut self, now: Instant, client: C, carrier: Carrier, message: &[u8]) {
        self.stats.queries += 1;
        match Question::read(message) {
            Ok(question) => {
                let limit = self.limit(&question, carrier);
                self.resolve(now, Waiter { client, question, limit });
            }
            Err(rejection) => {
                self.stats.rejected += 1;
                let answer = rejection.answer(message).map(|message| Answer { client, message });
                self.answers.extend(answer);
            }
        }
    }

    /// An upstream sent a message. One that is no answer to the question counts as a failure.
    pub fn handle_response(&mut self, now: Instant, id: QueryId, message: &[u8]) {
        let Some(pending) = self.take(id) else { return };
        match upstream::response(&pending.key, message) {
            Ok(answer) => self.settle(now, pending, answer),
            Err(_) => self.fail(now, pending),
        }
    }

    /// No upstream can be asked.
    pub fn handle_failure(&mut self, now: Instant, id: QueryId) {
        if let Some(pending) = self.take(id) {
            self.fail(now, pending);
        }
    }

    /// Time has passed: questions without an answer fail.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((&id, pending)) = self.pending.first_key_value()
            && pending.deadline.is_some_and(|deadline| deadline <= now)
        {
            self.handle_failure(now, id);
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
        self.pending.first_key_value().and_then(|(_, pending)| pending.deadline)
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The answers that are kept.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    fn limit(&self, question: &Question, carrier: Carrier) -> usize {
        usize::from(match carrier {
            Carrier::Datagram => question.max_datagram().min(self.config.max_datagram),
            Carrier::Stream => u16::MAX,
        })
    }

    fn resolve(&mut self, now: Instant, waiter: Waiter<C>) {
        let key = waiter.question.key();
        if let Some(answer) = self.cache.get(now, &key) {
            self.stats.hits += 1;
            self.answer(waiter, answer);
        } else if self.waiting >= self.config.max_waiting {
            self.stats.overloads += 1;
            self.answer(waiter, failure());
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
            self.ask(now, key, waiter);
        }
    }

    fn ask(&mut self, now: Instant, key: Key, waiter: Waiter<C>) {
        let id = QueryId(self.next_id);
        self.next_id += 1;
        self.stats.upstream_queries += 1;
        let message = upstream::query(&key);
        let deadline = now.checked_add(self.config.timeout);
        self.in_flight.insert(key.clone(), id);
        self.pending.insert(id, Pending { key, deadline, waiters: vec![waiter] });
        match message {
            Some(message) => self.queries.push_back(UpstreamQuery { id, message }),
            None => self.handle_failure(now, id),
        }
    }

    fn take(&mut self, id: QueryId) -> Option<Pending<C>> {
        let pending = self.pending.remove(&id)?;
        self.in_flight.remove(&pending.key);
        self.waiting -= pending.waiters.len();
        Some(pending)
    }

    fn fail(&mut self, now: Instant, pending: Pending<C>) {
        self.stats.failures += 1;
        self.settle(now, pending, failure());
    }

    fn settle(&mut self, now: Instant, pending: Pending<C>, answer: Message) {
        for waiter in pending.waiters {
            self.answer(waiter, answer.clone());
        }
        self.cache.insert(now, pending.key, answer);
    }

    fn answer(&mut self, waiter: Waiter<C>, answer: Message) {
        let message = waiter.question.answer(answer, waiter.limit);
        self.answers.push_back(Answer { client: waiter.client, message });
    }
}

fn failure() -> Message {
    Message::error_msg(0, OpCode::Query, ResponseCode::ServFail)
}
