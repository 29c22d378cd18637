//! Answers, kept as long as their authors allow.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use lru::LruCache;

use crate::Config;
use crate::message::{Key, encode, records_mut};

/// RFC 2181 §8: a TTL with the top bit set is to be taken as zero.
const MAX_WIRE_TTL: u32 = i32::MAX as u32;

/// What an entry costs beside its message and its name: both structs and the list around them.
const ENTRY_OVERHEAD: usize = size_of::<Key>() + size_of::<Entry>() + 64;

/// Answers by question, bounded by bytes; the least recently used ones make room.
///
/// An answer lives as long as its shortest-lived record: positive ones by the records of the answer
/// section, negative ones also by the SOA record of the authority section (RFC 2308 §5), without
/// which they are not kept. Failures live for a moment (RFC 9520), all else not at all.
#[derive(Debug)]
pub struct Cache {
    entries: LruCache<Key, Entry>,
    bytes: usize,
    config: Config,
}

#[derive(Debug)]
struct Entry {
    message: Bytes,
    stored: Instant,
    lifetime: Duration,
}

impl Cache {
    /// An empty cache.
    pub fn new(config: &Config) -> Self {
        Self { entries: LruCache::unbounded(), bytes: 0, config: config.clone() }
    }

    /// The answer to a question, its TTLs counted down (RFC 1035 §7.3).
    pub fn get(&mut self, now: Instant, key: &Key) -> Option<Message> {
        let entry = self.entries.get(key)?;
        let age = now.saturating_duration_since(entry.stored);
        if age >= entry.lifetime {
            self.remove(key);
            return None;
        }
        let mut answer = Message::from_vec(&entry.message).ok()?;
        let seconds = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        for record in records_mut(&mut answer) {
            record.ttl = record.ttl.saturating_sub(seconds);
        }
        Some(answer)
    }

    /// Keeps an answer, if it may be kept.
    pub fn insert(&mut self, now: Instant, key: Key, mut answer: Message) {
        let Some(lifetime) = self.lifetime(&answer, key.query.query_type()) else { return };
        self.cap_ttls(&mut answer);
        let Some(message) = encode(&answer) else { return };
        let entry = Entry { message, stored: now, lifetime };
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
