//! What becomes of outlived answers, and which ones are fetched before they are (RFC 8767).

mod support;

use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use pseudotcp_dns::{Asker, Carrier, Config, ExtendedError, Interceptor, UpstreamQuery};
use support::{a, epoch, query, read, response, wire, with_edns};

const SERVERS_AWAY: ExtendedError = ExtendedError::NoReachableResolver;

struct Bench {
    dns: Interceptor<u32>,
    now: Instant,
}

impl Bench {
    /// A cache that got an answer of 100 s at the time zero.
    fn new() -> Self {
        let mut bench = Self { dns: Interceptor::new(Config::default()), now: epoch() };
        bench.ask();
        let asked = bench.dns.poll_query().unwrap();
        bench.respond(&asked);
        assert_eq!(bench.answer().unwrap().answers[0].ttl, 100);
        bench
    }

    fn ask(&mut self) {
        let source = "10.0.0.1".parse().unwrap();
        let asker = Asker { client: 1, source, carrier: Carrier::Datagram };
        let message = with_edns(query("example.", RecordType::A), 1_232, false);
        self.dns.handle_query(self.now, asker, &wire(&message));
    }

    fn respond(&mut self, to: &UpstreamQuery) {
        let answers = vec![a("example.", 100, 7)];
        let message = wire(&response(&to.message, ResponseCode::NoError, answers));
        self.dns.handle_response(self.now, to.id, &message);
    }

    fn answer(&mut self) -> Option<Message> {
        self.dns.poll_answer().map(|answer| read(&answer.message))
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.dns.handle_timeout(self.now);
    }
}

/// The code of the extended error in a message.
fn extended(message: &Message) -> Option<u16> {
    let option = message.edns.as_ref()?.option(EdnsCode::Unknown(15))?;
    match option {
        EdnsOption::Unknown(15, data) => Some(u16::from_be_bytes([data[0], data[1]])),
        _ => None,
    }
}

#[test]
fn an_outlived_answer_is_better_than_none() {
    let mut bench = Bench::new();
    bench.pass(Duration::from_secs(1_000));
    bench.ask();
    let asked = bench.dns.poll_query().unwrap();
    bench.dns.handle_failure(bench.now, asked.id, SERVERS_AWAY);
    let answer = bench.answer().unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    assert_eq!((answer.answers[0].ttl, extended(&answer)), (30, Some(3)));

    bench.ask();
    assert!(bench.dns.poll_query().is_none(), "servers that failed are left alone for 30 s");
    assert_eq!(bench.answer().unwrap().answers[0].ttl, 30);
    bench.pass(Duration::from_secs(30));
    bench.ask();
    let asked = bench.dns.poll_query().unwrap();
    bench.respond(&asked);
    let answer = bench.answer().unwrap();
    assert_eq!((answer.answers[0].ttl, extended(&answer)), (100, None));
}

#[test]
fn an_upstreams_failure_does_not_wipe_an_answer_out() {
    let mut bench = Bench::new();
    bench.pass(Duration::from_secs(1_000));
    bench.ask();
    let asked = bench.dns.poll_query().unwrap();
    let failure = wire(&response(&asked.message, ResponseCode::ServFail, vec![]));
    bench.dns.handle_response(bench.now, asked.id, &failure);
    assert_eq!(bench.answer().unwrap().answers[0].ttl, 30);
    bench.pass(Duration::from_secs(30));
    bench.ask();
    let asked = bench.dns.poll_query().unwrap();
    let refusal = wire(&response(&asked.message, ResponseCode::Refused, vec![]));
    bench.dns.handle_response(bench.now, asked.id, &refusal);
    assert_eq!(bench.answer().unwrap().answers[0].ttl, 30);
    assert_eq!(bench.dns.stats().stale, 2);
}

#[test]
fn a_client_gets_the_outlived_answer_before_it_loses_patience() {
    let mut bench = Bench::new();
    bench.pass(Duration::from_secs(1_000));
    bench.ask();
    let asked = bench.dns.poll_query().unwrap();
    bench.pass(Duration::from_millis(1_799));
    assert!(bench.answer().is_none());
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.answer().unwrap().answers[0].ttl, 30);
    bench.respond(&asked);
    assert!(bench.answer().is_none(), "one answer is enough");
    bench.ask();
    assert_eq!(bench.answer().unwrap().answers[0].ttl, 100, "the late one is kept");
}

#[test]
fn after_a_day_nothing_is_better_than_an_outlived_answer() {
    let mut bench = Bench::new();
    bench.pass(Duration::from_secs(24 * 3_600 + 100));
    bench.ask();
    let asked = bench.dns.poll_query().unwrap();
    bench.dns.handle_failure(bench.now, asked.id, SERVERS_AWAY);
    let answer = bench.answer().unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(extended(&answer), Some(22));
}

#[test]
fn a_popular_answer_is_fetched_before_it_is_outlived() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        bench.ask();
        assert_eq!(bench.answer().unwrap().answers[0].ttl, 100);
    }
    bench.pass(Duration::from_secs(89));
    bench.ask();
    assert!(bench.dns.poll_query().is_none(), "not yet");
    bench.pass(Duration::from_secs(1));
    bench.ask();
    bench.ask();
    let refresh = bench.dns.poll_query().unwrap();
    assert!(bench.dns.poll_query().is_none(), "once is enough");
    bench.pass(Duration::from_secs(1));
    bench.respond(&refresh);
    while bench.answer().is_some() {}
    bench.ask();
    assert_eq!(bench.answer().unwrap().answers[0].ttl, 100);
}

/// Time alone fetches nothing, and what few ask for is left to die.
#[test]
fn d38_nothing_is_fetched_that_nobody_asks_for() {
    let mut bench = Bench::new();
    bench.pass(Duration::from_secs(95));
    assert!(bench.dns.poll_query().is_none());
    assert_eq!(bench.dns.poll_timeout(), None);
    bench.ask();
    assert!(bench.dns.poll_query().is_none(), "asked for once");
    assert_eq!(bench.answer().unwrap().answers[0].ttl, 5);
}
