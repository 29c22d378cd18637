//! The interceptor at its boundary: messages in, messages out, at a time.

mod support;

use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Record, RecordType};
use proptest::collection::vec;
use proptest::prelude::*;
use pseudotcp_dns::{Asker, Carrier, Config, ExtendedError, Interceptor, QueryId, UpstreamQuery};
use support::{a, aaaa, epoch, query, read, response, txt, wire, with_edns};

/// An interceptor whose clients are numbers.
struct Bench {
    dns: Interceptor<u32>,
    now: Instant,
}

impl Bench {
    fn new(config: Config) -> Self {
        Self { dns: Interceptor::new(config), now: epoch() }
    }

    fn ask(&mut self, client: u32, message: &Message) {
        self.ask_by(Carrier::Datagram, client, &wire(message));
    }

    fn ask_by(&mut self, carrier: Carrier, client: u32, message: &[u8]) {
        let source = "10.0.0.1".parse().unwrap();
        self.dns.handle_query(self.now, Asker { client, source, carrier }, message);
    }

    fn queries(&mut self) -> Vec<UpstreamQuery> {
        std::iter::from_fn(|| self.dns.poll_query()).collect()
    }

    fn query(&mut self) -> UpstreamQuery {
        let mut queries = self.queries();
        assert_eq!(queries.len(), 1);
        queries.remove(0)
    }

    fn answers(&mut self) -> Vec<(u32, Message)> {
        let answers = std::iter::from_fn(|| self.dns.poll_answer());
        answers.map(|answer| (answer.client, read(&answer.message))).collect()
    }

    fn codes(&mut self) -> Vec<(u32, ResponseCode)> {
        self.answers().into_iter().map(|(client, m)| (client, m.metadata.response_code)).collect()
    }

    fn respond(&mut self, to: &UpstreamQuery, answers: Vec<Record>) {
        let message = wire(&response(&to.message, ResponseCode::NoError, answers));
        self.dns.handle_response(self.now, to.id, &message);
    }

    /// Time passes; the interceptor is called exactly when it asked for.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.dns.poll_timeout().filter(|&at| at <= until) {
            self.now = at;
            self.dns.handle_timeout(at);
        }
        self.now = until;
    }
}

fn example() -> Message {
    query("example.", RecordType::A)
}

#[test]
fn the_second_answer_comes_from_the_cache() {
    let mut bench = Bench::new(Config::default());
    bench.ask(1, &example());
    let asked = bench.query();
    assert!(bench.answers().is_empty());
    bench.respond(&asked, vec![a("example.", 60, 7)]);
    assert_eq!(bench.answers()[0].1.answers, [a("example.", 60, 7)]);

    bench.pass(Duration::from_secs(20));
    bench.ask(2, &query("eXAMPLE.", RecordType::A));
    assert!(bench.queries().is_empty());
    let (client, answer) = bench.answers().remove(0);
    assert_eq!((client, answer.answers[0].ttl), (2, 40));
    assert_eq!(answer.queries[0].name().to_ascii(), "eXAMPLE.");
    assert_eq!((bench.dns.stats().hits, bench.dns.stats().upstream_queries), (1, 1));
}

#[test]
fn d32_an_aaaa_question_gets_an_aaaa_answer() {
    let mut bench = Bench::new(Config::default());
    bench.ask(1, &query("example.", RecordType::AAAA));
    let asked = bench.query();
    bench.respond(&asked, vec![aaaa("example.", 60)]);
    let (_, answer) = bench.answers().remove(0);
    assert_eq!(answer.answers, [aaaa("example.", 60)]);
    assert_eq!(answer.queries[0].query_type(), RecordType::AAAA);
}

#[test]
fn equal_questions_in_flight_are_asked_once() {
    let mut bench = Bench::new(Config::default());
    for client in 0..5 {
        bench.ask(client, &example());
    }
    bench.ask(5, &with_edns(example(), 1_232, true));
    let asked = bench.queries();
    assert_eq!(asked.len(), 2, "DO makes another question");
    bench.respond(&asked[0], vec![a("example.", 60, 7)]);
    let clients: Vec<u32> = bench.answers().iter().map(|(client, _)| *client).collect();
    assert_eq!(clients, [0, 1, 2, 3, 4]);
    assert_eq!(bench.dns.stats().merged, 4);
}

#[test]
fn d34_a_dead_upstream_is_told_as_a_failure_and_soon_asked_again() {
    let mut bench = Bench::new(Config::default());
    bench.ask(1, &example());
    let lost = bench.query();
    bench.pass(Duration::from_millis(3_999));
    assert!(bench.answers().is_empty());
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.codes(), [(1, ResponseCode::ServFail)]);
    assert_eq!(bench.dns.poll_timeout(), None);

    bench.ask(2, &example());
    assert_eq!(bench.codes(), [(2, ResponseCode::ServFail)], "remembered for a second");
    bench.pass(Duration::from_secs(1));
    bench.ask(3, &example());
    bench.query();
    bench.respond(&lost, vec![a("example.", 60, 7)]);
    assert!(bench.answers().is_empty(), "too late, and not for this question");
}

#[test]
fn failures_are_told_at_once() {
    let mut bench = Bench::new(Config::default());
    bench.ask(1, &example());
    let asked = bench.query();
    bench.dns.handle_failure(bench.now, asked.id, ExtendedError::NoReachableResolver);
    assert_eq!(bench.codes(), [(1, ResponseCode::ServFail)]);

    bench.ask(2, &query("other.", RecordType::A));
    let asked = bench.query();
    bench.dns.handle_response(bench.now, asked.id, b"garbage");
    assert_eq!(bench.codes(), [(2, ResponseCode::ServFail)]);
    assert_eq!(bench.dns.stats().failures, 2);
}

#[test]
fn the_carrier_limits_the_answer() {
    let mut bench = Bench::new(Config::default());
    let big = with_edns(query("example.", RecordType::TXT), 4_096, false);
    bench.ask(1, &big);
    bench.ask_by(Carrier::Stream, 2, &wire(&big));
    let asked = bench.query();
    bench.respond(&asked, (0..10).map(|_| txt("example.", 60, 200)).collect());
    let answers = bench.answers();
    assert!(answers[0].1.metadata.truncation, "no datagram above 1,232 bytes");
    assert_eq!(answers[1].1.answers.len(), 10);
}

#[test]
fn rejected_messages_are_answered_and_not_asked() {
    let mut bench = Bench::new(Config::default());
    bench.ask(1, &query("example.", RecordType::AXFR));
    bench.ask_by(Carrier::Datagram, 2, b"short");
    assert_eq!(bench.codes(), [(1, ResponseCode::Refused)]);
    assert!(bench.queries().is_empty());
    assert_eq!((bench.dns.stats().queries, bench.dns.stats().rejected), (2, 2));
}

#[test]
fn what_waits_is_bounded() {
    let mut bench = Bench::new(Config::default().max_waiting(2));
    for client in 0..3 {
        bench.ask(client, &query(&format!("n{client}.example."), RecordType::A));
    }
    assert_eq!(bench.queries().len(), 2);
    assert_eq!(bench.codes(), [(2, ResponseCode::ServFail)]);
    assert_eq!(bench.dns.stats().overloads, 1);
    bench.pass(Duration::from_secs(4));
    assert_eq!(bench.answers().len(), 2);
    bench.ask(3, &query("n3.example.", RecordType::A));
    bench.query();
}

#[derive(Clone, Debug)]
enum Op {
    Ask { name: u8 },
    Respond { index: prop::sample::Index, ttl: u32 },
    Fail { index: prop::sample::Index },
    Pass { millis: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (0..4u8).prop_map(|name| Op::Ask { name }),
        2 => (index(), 0..10u32).prop_map(|(index, ttl)| Op::Respond { index, ttl }),
        1 => index().prop_map(|index| Op::Fail { index }),
        2 => (0..3_000u64).prop_map(|millis| Op::Pass { millis }),
    ]
}

proptest! {
    #[test]
    fn every_question_is_answered_once_and_in_time(ops in vec(op(), 1..100)) {
        let mut bench = Bench::new(Config::default().max_waiting(6));
        let mut asked: Vec<(QueryId, UpstreamQuery)> = Vec::new();
        let mut waiting: Vec<(u32, Instant)> = Vec::new();
        let mut client = 0;
        for op in ops {
            match op {
                Op::Ask { name } => {
                    client += 1;
                    waiting.push((client, bench.now));
                    bench.ask(client, &query(&format!("n{name}.example."), RecordType::A));
                }
                Op::Respond { index, ttl } if !asked.is_empty() => {
                    let (_, query) = &asked[index.index(asked.len())];
                    bench.respond(&query.clone(), vec![a("example.", ttl, 1)]);
                }
                Op::Fail { index } if !asked.is_empty() => {
                    let (id, _) = asked[index.index(asked.len())];
                    bench.dns.handle_failure(bench.now, id, ExtendedError::NoReachableResolver);
                }
                Op::Pass { millis } => bench.pass(Duration::from_millis(millis)),
                Op::Respond { .. } | Op::Fail { .. } => {}
            }
            asked.extend(bench.queries().into_iter().map(|query| (query.id, query)));
            for (client, _) in bench.answers() {
                let at = waiting.iter().position(|&(other, _)| other == client);
                prop_assert!(at.is_some(), "client {} was answered twice", client);
                waiting.remove(at.unwrap());
            }
            prop_assert!(waiting.len() <= 6);
            prop_assert!(waiting.iter().all(|&(_, since)| bench.now < since + Duration::from_secs(4)));
            prop_assert!(bench.dns.poll_timeout().is_some() || waiting.is_empty());
        }
        bench.pass(Duration::from_secs(4));
        prop_assert_eq!(bench.answers().len(), waiting.len());
        prop_assert_eq!(bench.dns.poll_timeout(), None, "no timer when nothing waits");
    }
}

fn ask_from(bench: &mut Bench, source: &str, name: &str) {
    let source = source.parse().unwrap();
    let asker = Asker { client: 0, source, carrier: Carrier::Datagram };
    bench.dns.handle_query(bench.now, asker, &wire(&query(name, RecordType::A)));
}

#[test]
fn one_source_cannot_take_all_room_to_wait() {
    let mut bench = Bench::new(Config::default().max_waiting_per_source(2));
    for n in 0..3 {
        ask_from(&mut bench, &format!("2001:db8::{n}"), &format!("n{n}.example."));
    }
    assert_eq!(bench.codes(), [(0, ResponseCode::ServFail)], "a /64 is one source");
    ask_from(&mut bench, "2001:db8:0:1::", "n3.example.");
    let asked = bench.queries();
    assert_eq!(asked.len(), 3);
    bench.respond(&asked[0], vec![a("n0.example.", 60, 7)]);
    ask_from(&mut bench, "2001:db8::9", "n4.example.");
    assert_eq!(bench.queries().len(), 1, "an answer makes room");
}

#[test]
fn a_flood_is_dropped_and_counted() {
    let mut bench = Bench::new(Config::default().max_rate_per_source(10));
    for _ in 0..15 {
        ask_from(&mut bench, "10.0.0.1", "example.");
    }
    assert_eq!((bench.dns.stats().queries, bench.dns.stats().dropped), (15, 5));
    ask_from(&mut bench, "10.0.0.2", "example.");
    assert_eq!(bench.dns.stats().dropped, 5, "another source has its own rate");
    bench.pass(Duration::from_millis(300));
    for _ in 0..5 {
        ask_from(&mut bench, "10.0.0.1", "example.");
    }
    assert_eq!(bench.dns.stats().dropped, 7, "three more after 300 ms");
}
