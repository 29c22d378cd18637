//! Answers, kept as long as their authors allow.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use lru::LruCache;

use crate::message::{Key, encode, records_mut};
use crate::{Config, ExtendedError};

/// RFC 2181 §8: a TTL with the top bit set is to be taken as zero.
const MAX_WIRE_TTL: u32 = i32::MAX as u32;

/// RFC 8767 §4: the TTL in seconds of outlived records.
const STALE_TTL: u32 = 30;

/// RFC 8767 §5: how long outlived answers are given without asking again.
const STALE_RETRY: Duration = Duration::from_secs(30);

/// An answer that is asked for this often is fetched anew before it is outlived.
const POPULAR: u32 = 3;

/// The last tenth of its life is the time to fetch a popular answer anew.
const REFRESH_PART: u32 = 10;

/// What an entry costs beside its message and its name: both structs and the list around them.
const ENTRY_OVERHEAD: usize = size_of::<Key>() + size_of::<Entry>() + 64;

/// Answers by question, bounded by bytes; the least recently used ones make room.
///
/// An answer lives as long as its shortest-lived record: positive ones by the records of the answer
/// section, negative ones also by the SOA record of the authority section (RFC 2308 §5), without
/// which they are not kept. Failures live for a moment (RFC 9520), all else not at all. What is
/// outlived stays a while longer, for the time when no resolver answers (RFC 8767).
#[derive(Debug)]
pub struct Cache {
    entries: LruCache<Key, Entry>,
    bytes: usize,
    config: Config,
}

/// What the cache has for a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The answer, its TTLs counted down (RFC 1035 §7.3).
    pub answer: Message,
    /// Many ask for it and it will soon be outlived: now is the time to fetch it anew.
    pub refresh: bool,
}

#[derive(Debug)]
struct Entry {
    message: Bytes,
    stored: Instant,
    lifetime: Duration,
    kind: Kind,
    uses: u32,
    /// The outlived answer is good enough until then, as resolvers failed a moment ago.
    excused_until: Option<Instant>,
}

/// What an entry is good for when it is outlived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Better than nothing.
    Answer,
    /// Nothing.
    Failure,
}

impl Cache {
    /// An empty cache.
    pub fn new(config: &Config) -> Self {
        Self { entries: LruCache::unbounded(), bytes: 0, config: config.clone() }
    }

    /// The answer to a question.
    pub fn get(&mut self, now: Instant, key: &Key) -> Option<Hit> {
        let entry = self.entries.get_mut(key)?;
        let age = now.saturating_duration_since(entry.stored);
        if age < entry.lifetime {
            entry.uses = entry.uses.saturating_add(1);
            let refresh = entry.is_due(age);
            return Some(Hit { answer: entry.aged(age)?, refresh });
        }
        if entry.excused_until.is_some_and(|until| now < until) {
            return Some(Hit { answer: entry.stale()?, refresh: false });
        }
        if !entry.may_be_stale(now, self.config.max_stale) {
            self.remove(key);
        }
        None
    }

    /// The outlived answer to a question, for want of a better one: now, and for the next 30 s.
    pub fn get_stale(&mut self, now: Instant, key: &Key) -> Option<Message> {
        let max_stale = self.config.max_stale;
        let entry = self.entries.get_mut(key).filter(|entry| entry.may_be_stale(now, max_stale))?;
        entry.excused_until = now.checked_add(STALE_RETRY);
        entry.stale()
    }

    /// Whether there is an outlived answer.
    pub fn has_stale(&self, now: Instant, key: &Key) -> bool {
        let entry = self.entries.peek(key);
        entry.is_some_and(|entry| entry.may_be_stale(now, self.config.max_stale))
    }

    /// Keeps an answer, if it may be kept.
    pub fn insert(&mut self, now: Instant, key: Key, mut answer: Message) {
        let Some(lifetime) = self.lifetime(&answer, key.query.query_type()) else { return };
        let failed = answer.metadata.response_code == ResponseCode::ServFail;
        let kind = if failed { Kind::Failure } else { Kind::Answer };
        self.cap_ttls(&mut answer);
        let Some(message) = encode(&answer) else { return };
        let entry = Entry { message, stored: now, lifetime, kind, uses: 0, excused_until: None };
        if cost(&key, &entry) > self.config.cache_bytes {
            return;
        }
        self.remove(&key);
        self.bytes += cost(&key, &entry);
        self.entries.put(key, entry);
        self.make_room();
    }

    /// How many bytes the answers take, bookkeeping included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many answers there are, outlived ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn remove(&mut self, key: &Key) {
        if let Some((key, entry)) = self.entries.pop_entry(key) {
            self.bytes -= cost(&key, &entry);
        }
    }

    fn make_room(&mut self) {
        while self.bytes > self.config.cache_bytes
            && let Some((key, entry)) = self.entries.pop_lru()
        {
            self.bytes -= cost(&key, &entry);
        }
    }

    /// How long an answer may be kept; nothing where it may not.
    fn lifetime(&self, answer: &Message, asked: RecordType) -> Option<Duration> {
        if answer.metadata.truncation {
            return None;
        }
        let lifetime = match answer.metadata.response_code {
            ResponseCode::ServFail => self.config.failure_ttl,
            ResponseCode::NoError if !is_negative(answer, asked) => {
                shortest(&answer.answers)?.min(self.config.max_ttl)
            }
            ResponseCode::NoError | ResponseCode::NXDomain => {
                let aliases = shortest(&answer.answers).unwrap_or(Duration::MAX);
                negative_ttl(answer)?.min(aliases).min(self.config.max_negative_ttl)
            }
            _ => return None,
        };
        (!lifetime.is_zero()).then_some(lifetime)
    }

    /// No client shall keep a record longer than we do, nor a denial longer than RFC 2308 §5 lets
    /// it.
    fn cap_ttls(&self, answer: &mut Message) {
        let max = u32::try_from(self.config.max_ttl.as_secs()).unwrap_or(u32::MAX);
        for record in records_mut(answer) {
            record.ttl = ttl(record).min(max);
        }
        for record in &mut answer.authorities {
            record.ttl = record.ttl.min(soa_minimum(record).unwrap_or(u32::MAX));
        }
    }
}

impl Entry {
    /// Whether the answer is popular and in the last part of a life that is worth the trouble.
    fn is_due(&self, age: Duration) -> bool {
        self.kind == Kind::Answer
            && self.uses >= POPULAR
            && self.lifetime.saturating_sub(age) * REFRESH_PART <= self.lifetime
    }

    fn may_be_stale(&self, now: Instant, max_stale: Duration) -> bool {
        let age = now.saturating_duration_since(self.stored);
        self.kind == Kind::Answer && age < self.lifetime.saturating_add(max_stale)
    }

    fn aged(&self, age: Duration) -> Option<Message> {
        let seconds = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        self.with_ttls(|ttl| ttl.saturating_sub(seconds))
    }

    fn stale(&self) -> Option<Message> {
        let answer = self.with_ttls(|_| STALE_TTL)?;
        Some(match answer.metadata.response_code {
            ResponseCode::NXDomain => ExtendedError::StaleNxDomain.explain(answer),
            _ => ExtendedError::StaleAnswer.explain(answer),
        })
    }

    fn with_ttls(&self, change: impl Fn(u32) -> u32) -> Option<Message> {
        let mut answer = Message::from_vec(&self.message).ok()?;
        for record in records_mut(&mut answer) {
            record.ttl = change(record.ttl);
        }
        Some(answer)
    }
}

fn cost(key: &Key, entry: &Entry) -> usize {
    key.query.name().len() + entry.message.len() + ENTRY_OVERHEAD
}

/// Whether the answer says that there is no such record: aliases alone do.
fn is_negative(answer: &Message, asked: RecordType) -> bool {
    let answers_it = |record: &Record| asked.is_any() || record.record_type() == asked;
    !answer.answers.iter().any(answers_it)
}

fn shortest(records: &[Record]) -> Option<Duration> {
    let shortest = records.iter().map(ttl).min()?;
    Some(Duration::from_secs(u64::from(shortest)))
}

fn negative_ttl(answer: &Message) -> Option<Duration> {
    let soa = answer.authorities.iter().find(|record| soa_minimum(record).is_some())?;
    let seconds = ttl(soa).min(soa_minimum(soa)?);
    Some(Duration::from_secs(u64::from(seconds)))
}

fn soa_minimum(record: &Record) -> Option<u32> {
    match &record.data {
        RData::SOA(soa) => Some(soa.minimum),
        _ => None,
    }
}

fn ttl(record: &Record) -> u32 {
    if record.ttl > MAX_WIRE_TTL { 0 } else { record.ttl }
}
