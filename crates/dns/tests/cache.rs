//! The cache: how long answers live, what they say as they age, and what makes room for what.

mod support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::NULL;
use hickory_proto::rr::{RData, Record, RecordType};
use proptest::collection::vec;
use proptest::prelude::*;
use pseudotcp_dns::Config;
use pseudotcp_dns::cache::Cache;
use pseudotcp_dns::message::{Key, Question};
use support::{a, cname, epoch, query, response, soa, wire};

const NO_ERROR: ResponseCode = ResponseCode::NoError;
const NX_DOMAIN: ResponseCode = ResponseCode::NXDomain;

fn key(name: &str, kind: RecordType) -> Key {
    Question::read(&wire(&query(name, kind))).unwrap().key()
}

fn answer(code: ResponseCode, answers: Vec<Record>, authorities: Vec<Record>) -> Message {
    let mut message = response(&wire(&query("example.", RecordType::A)), code, answers);
    message.authorities = authorities;
    message
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// For how many seconds an answer to `example. A` is kept.
fn lifetime(answer: &Message) -> u64 {
    let (now, key) = (epoch(), key("example.", RecordType::A));
    let mut cache = Cache::new(&Config::default());
    cache.insert(now, key.clone(), answer.clone());
    let mut is_kept = |seconds| cache.get(now + secs(seconds), &key).is_some();
    // Times must rise, as an outlived answer is dropped when it is asked for.
    (0..200_000).find(|&seconds| !is_kept(seconds)).unwrap()
}

#[test]
fn d33_ttls_are_counted_down() {
    let (now, key) = (epoch(), key("example.", RecordType::A));
    let mut cache = Cache::new(&Config::default().max_stale(Duration::ZERO));
    let records = vec![a("example.", 300, 1), a("example.", 200, 2)];
    cache.insert(now, key.clone(), answer(NO_ERROR, records, vec![]));
    let mut ttls = |millis| {
        let message = cache.get(now + Duration::from_millis(millis), &key);
        message.map(|hit| hit.answer.answers.iter().map(|r| r.ttl).collect::<Vec<_>>())
    };
    assert_eq!(ttls(0), Some(vec![300, 200]));
    assert_eq!(ttls(1_999), Some(vec![299, 199]));
    assert_eq!(ttls(199_999), Some(vec![101, 1]));
    assert_eq!(ttls(200_000), None);
    assert!(cache.is_empty() && cache.bytes() == 0);
}

#[test]
fn d33_an_answer_lives_as_long_as_its_shortest_record() {
    let alias = vec![cname("example.", 30, "www.example."), a("www.example.", 300, 1)];
    assert_eq!(lifetime(&answer(NO_ERROR, alias, vec![])), 30);
    assert_eq!(lifetime(&answer(NO_ERROR, vec![a("example.", 0, 1)], vec![])), 0);
    assert_eq!(lifetime(&answer(NO_ERROR, vec![a("example.", 1 << 31, 1)], vec![])), 0);
    assert_eq!(lifetime(&answer(NO_ERROR, vec![a("example.", 999_999, 1)], vec![])), 86_400);
}

#[test]
fn d33_denials_live_by_their_soa() {
    for code in [NX_DOMAIN, NO_ERROR] {
        assert_eq!(lifetime(&answer(code, vec![], vec![soa("example.", 900, 60)])), 60);
        assert_eq!(lifetime(&answer(code, vec![], vec![soa("example.", 50, 600)])), 50);
        assert_eq!(lifetime(&answer(code, vec![], vec![soa("example.", 90_000, 90_000)])), 3_600);
        assert_eq!(lifetime(&answer(code, vec![], vec![])), 0);
        let alias = vec![cname("example.", 20, "gone.example.")];
        assert_eq!(lifetime(&answer(code, alias, vec![soa("example.", 900, 60)])), 20);
    }
}

#[test]
fn the_soa_of_a_denial_does_not_outlive_it() {
    let (now, key) = (epoch(), key("example.", RecordType::A));
    let mut cache = Cache::new(&Config::default());
    cache.insert(now, key.clone(), answer(NX_DOMAIN, vec![], vec![soa("example.", 900, 60)]));
    let kept = cache.get(now + secs(10), &key).unwrap().answer;
    assert_eq!((kept.metadata.response_code, kept.authorities[0].ttl), (NX_DOMAIN, 50));
}

#[test]
fn d33_failures_live_for_a_moment_and_other_errors_not_at_all() {
    assert_eq!(lifetime(&answer(ResponseCode::ServFail, vec![], vec![])), 1);
    for code in [ResponseCode::Refused, ResponseCode::FormErr, ResponseCode::NotImp] {
        assert_eq!(lifetime(&answer(code, vec![a("example.", 60, 1)], vec![])), 0);
    }
    let mut truncated = answer(NO_ERROR, vec![a("example.", 60, 1)], vec![]);
    truncated.metadata.truncation = true;
    assert_eq!(lifetime(&truncated), 0);
}

#[test]
fn records_that_nobody_knows_are_kept_as_they_are() {
    let (now, key) = (epoch(), key("example.", RecordType::ANY));
    let mut cache = Cache::new(&Config::default());
    let data =
        RData::Unknown { code: RecordType::Unknown(65_280), rdata: NULL::with(vec![1, 2, 3]) };
    let record = Record::from_rdata(support::name("example."), 60, data);
    cache.insert(now, key.clone(), answer(NO_ERROR, vec![record.clone()], vec![]));
    assert_eq!(cache.get(now, &key).unwrap().answer.answers, [record]);
}

#[test]
fn d33_the_cache_is_bounded_by_bytes_and_drops_the_least_recently_used() {
    let now = epoch();
    let mut cache = Cache::new(&Config::default().cache_bytes(4_000));
    let keys: Vec<Key> = (0..100).map(|n| key(&format!("n{n}.example."), RecordType::A)).collect();
    for each in &keys {
        cache.insert(now, each.clone(), answer(NO_ERROR, vec![a("example.", 60, 1)], vec![]));
        assert!(cache.get(now, &keys[0]).is_some(), "what is in use stays");
        assert!(cache.bytes() <= 4_000);
    }
    let kept = keys.iter().filter(|key| cache.get(now, key).is_some()).count();
    assert_eq!(kept, cache.len());
    assert!((2..20).contains(&kept));
    assert!(cache.get(now, &keys[99]).is_some() && cache.get(now, &keys[1]).is_none());
}

#[test]
fn a_cache_of_no_bytes_keeps_nothing() {
    let mut cache = Cache::new(&Config::default().cache_bytes(0));
    let key = key("example.", RecordType::A);
    cache.insert(epoch(), key, answer(NO_ERROR, vec![a("example.", 60, 1)], vec![]));
    assert!(cache.is_empty());
}

/// What is kept of a question; the numbers are seconds.
#[derive(Clone, Copy, Debug)]
enum What {
    Answer { ttl: u32 },
    Denial { ttl: u32, minimum: u32 },
    Failure,
}

impl What {
    fn message(self) -> Message {
        match self {
            Self::Answer { ttl } => answer(NO_ERROR, vec![a("example.", ttl, 1)], vec![]),
            Self::Denial { ttl, minimum } => {
                answer(NX_DOMAIN, vec![], vec![soa("example.", ttl, minimum)])
            }
            Self::Failure => answer(ResponseCode::ServFail, vec![], vec![]),
        }
    }

    /// How long it is worth keeping.
    fn lifetime(self) -> u32 {
        match self {
            Self::Answer { ttl } => ttl,
            Self::Denial { ttl, minimum } => ttl.min(minimum),
            Self::Failure => 1,
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert { key: u8, what: What },
    Get { key: u8 },
    Pass { millis: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let what = prop_oneof![
        3 => (0..20u32).prop_map(|ttl| What::Answer { ttl }),
        2 => (0..20u32, 0..20u32).prop_map(|(ttl, minimum)| What::Denial { ttl, minimum }),
        1 => Just(What::Failure),
    ];
    prop_oneof![
        (0..KEYS, what).prop_map(|(key, what)| Op::Insert { key, what }),
        (0..KEYS).prop_map(|key| Op::Get { key }),
        (0..5_000u64).prop_map(|millis| Op::Pass { millis }),
    ]
}

const KEYS: u8 = 16;

/// Questions that differ in one thing each: name, type, DO or CD.
fn nth_key(number: u8) -> Key {
    let bit = |n: u8| (number >> n) & 1 == 1;
    // An A record answers both.
    let kind = if bit(1) { RecordType::ANY } else { RecordType::A };
    let mut message = query(if bit(0) { "one.example." } else { "two.example." }, kind);
    message.metadata.checking_disabled = bit(2);
    Question::read(&wire(&support::with_edns(message, 1_232, bit(3)))).unwrap().key()
}

proptest! {
    #[test]
    fn d33_answers_age_as_in_a_model_that_forgets_nothing(ops in vec(op(), 1..200)) {
        let mut now = epoch();
        let mut cache = Cache::new(&Config::default());
        let mut model: HashMap<u8, (Instant, What)> = HashMap::new();
        for op in ops {
            match op {
                Op::Insert { key, what } => {
                    cache.insert(now, nth_key(key), what.message());
                    if what.lifetime() > 0 {
                        model.insert(key, (now, what));
                    }
                }
                Op::Get { key } => {
                    let kept = cache.get(now, &nth_key(key)).map(|hit| {
                        let Message { metadata, answers, authorities, .. } = hit.answer;
                        let ttl = answers.iter().chain(&authorities).map(|record| record.ttl).next();
                        (metadata.response_code, ttl)
                    });
                    let expected = model.get(&key).and_then(|(stored, what)| {
                        let age = u32::try_from((now - *stored).as_secs()).unwrap();
                        let left = what.lifetime().checked_sub(age).filter(|&left| left > 0)?;
                        let has_records = !matches!(what, What::Failure);
                        Some((what.message().metadata.response_code, has_records.then_some(left)))
                    });
                    prop_assert_eq!(kept, expected);
                }
                Op::Pass { millis } => now += Duration::from_millis(millis),
            }
        }
    }
}
