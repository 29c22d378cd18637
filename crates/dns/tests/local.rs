//! Questions that no resolver is asked: special names, fake addresses, IPv6 where there is none.

mod support;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use pseudotcp_dns::fake::FakePool;
use pseudotcp_dns::{Asker, Carrier, Config, Interceptor};
use support::{epoch, name, query, read, wire};

const NO_ERROR: ResponseCode = ResponseCode::NoError;
const NX_DOMAIN: ResponseCode = ResponseCode::NXDomain;

fn ask(dns: &mut Interceptor<()>, now: Instant, text: &str, kind: RecordType) -> Option<Message> {
    let source = "10.0.0.1".parse().unwrap();
    let asker = Asker { client: (), source, carrier: Carrier::Datagram };
    assert!(dns.handle_query(now, asker, &wire(&query(text, kind))));
    dns.poll_answer().map(|answer| read(&answer.message))
}

/// The code and the number of records of an answer that needs no resolver.
fn outcome(config: Config, text: &str, kind: RecordType) -> Option<(ResponseCode, usize)> {
    let answer = ask(&mut Interceptor::new(config), epoch(), text, kind)?;
    Some((answer.metadata.response_code, answer.answers.len()))
}

fn address(dns: &mut Interceptor<()>, now: Instant, text: &str, kind: RecordType) -> IpAddr {
    match ask(dns, now, text, kind).unwrap().answers[0].data {
        RData::A(v4) => v4.0.into(),
        RData::AAAA(v6) => v6.0.into(),
        ref other => panic!("no address: {other}"),
    }
}

#[test]
fn special_names_are_answered_here() {
    for (text, kind, expected) in [
        ("localhost.", RecordType::A, Some((NO_ERROR, 1))),
        ("a.LocalHost.", RecordType::AAAA, Some((NO_ERROR, 1))),
        ("localhost.", RecordType::MX, Some((NO_ERROR, 0))),
        ("printer.local.", RecordType::A, Some((NX_DOMAIN, 0))),
        ("a.onion.", RecordType::A, Some((NX_DOMAIN, 0))),
        ("_dns.resolver.arpa.", RecordType::SVCB, Some((NO_ERROR, 0))),
        ("use-application-dns.net.", RecordType::A, Some((NX_DOMAIN, 0))),
        ("1.0.168.192.in-addr.arpa.", RecordType::PTR, Some((NX_DOMAIN, 0))),
        ("1.2.0.192.in-addr.arpa.", RecordType::PTR, None),
        ("example.", RecordType::ANY, Some((NO_ERROR, 1))),
        ("localhost.example.", RecordType::A, None),
    ] {
        assert_eq!(outcome(Config::default(), text, kind), expected, "{text} {kind}");
    }
    let config = || Config::default().private_names(|asked| name("local.").zone_of(asked));
    assert_eq!(outcome(config(), "printer.local.", RecordType::A), None, "it has its own server");
}

#[test]
fn without_ipv6_its_addresses_are_kept_from_apps() {
    let mut dns = Interceptor::new(Config::default());
    dns.set_ipv6(false);
    let answer = ask(&mut dns, epoch(), "example.", RecordType::AAAA).unwrap();
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (NO_ERROR, 0));
    assert!(ask(&mut dns, epoch(), "example.", RecordType::A).is_none());
    dns.set_ipv6(true);
    assert!(ask(&mut dns, epoch(), "example.", RecordType::AAAA).is_none());
}

#[test]
fn fake_addresses_stand_for_names_both_ways() {
    let (now, mut dns) = (epoch(), Interceptor::new(Config::default().fake_names(10)));
    let v4 = address(&mut dns, now, "WWW.example.", RecordType::A);
    let v6 = address(&mut dns, now, "www.example.", RecordType::AAAA);
    assert_eq!((v4.to_string(), v6.to_string()), ("198.18.0.1".into(), "fd6b:9c3e:51d7::1".into()));
    for address in [v4, v6] {
        assert_eq!(dns.name_of(address).as_deref(), Some("www.example"));
    }
    let answer = ask(&mut dns, now, "1.0.18.198.in-addr.arpa.", RecordType::PTR).unwrap();
    assert_eq!(answer.answers[0].data.to_string(), "www.example.");
    let answer = ask(&mut dns, now, "9.0.18.198.in-addr.arpa.", RecordType::PTR).unwrap();
    assert_eq!(answer.metadata.response_code, NX_DOMAIN);
    let hints = ask(&mut dns, now, "www.example.", RecordType::HTTPS).unwrap();
    assert!(hints.answers.is_empty(), "its hints would lead past the name");
    assert!(ask(&mut dns, now, "www.example.", RecordType::MX).is_none());
    assert!(ask(&mut dns, now, "printer.", RecordType::A).is_none(), "no name of the Internet");
}

#[test]
fn names_with_their_own_server_have_real_addresses() {
    let config = Config::default()
        .fake_names(10)
        .private_names(|asked| name("corp.example.").zone_of(asked));
    assert_eq!(outcome(config.clone(), "a.corp.example.", RecordType::A), None);
    assert_eq!(outcome(config, "b.example.", RecordType::A), Some((NO_ERROR, 1)));
}

#[test]
fn a_name_keeps_its_address_while_it_is_cached_or_in_use() {
    let (mut now, mut pool) = (epoch(), FakePool::new(2));
    let (one, _) = pool.assign(now, "one.example").unwrap();
    let (_, lease) = pool.lease(one.into()).unwrap();
    let (two, _) = pool.assign(now, "two.example").unwrap();
    assert_eq!(pool.assign(now, "one.example").unwrap().0, one);

    now += Duration::from_mins(2);
    let (three, _) = pool.assign(now, "three.example").unwrap();
    assert_eq!((three, pool.len()), (two, 2), "nobody uses two.example any more");
    let (_, other) = pool.lease(three.into()).unwrap();
    assert_eq!(pool.assign(now, "four.example"), None, "flows hold all there are");
    drop(lease);
    assert_eq!(pool.assign(now, "four.example").unwrap().0, one);
    drop(other);
    assert_eq!(pool.name_of(one.into()).as_deref(), Some("four.example"));
}

#[test]
fn an_address_that_may_be_cached_stays_with_its_name() {
    let (now, mut pool) = (epoch(), FakePool::new(2));
    let (one, _) = pool.assign(now, "one.example").unwrap();
    let later = now + Duration::from_mins(2);
    let (two, _) = pool.assign(later, "two.example").unwrap();
    assert_eq!(pool.assign(later, "three.example").unwrap().0, one);
    let soon = later + Duration::from_secs(59);
    assert_eq!(pool.assign(soon, "four.example"), None, "an app may still use any of them");
    let at_last = later + Duration::from_mins(1);
    assert_eq!(pool.assign(at_last, "four.example").unwrap().0, two);
}

#[test]
fn what_is_written_is_read_and_nonsense_skipped() {
    let now = epoch();
    let mut pool = FakePool::new(10);
    let names = ["a.example", "b.example", "c.example"];
    let addresses = names.map(|name| pool.assign(now, name).unwrap());
    let text = format!("x\n99 too.large\n5 NO GOOD\n0 twice.example\n{pool}-1 a.example\n");
    let mut restored = FakePool::new(10);
    restored.restore(now, &text.replace("0 twice.example\n", ""));
    assert_eq!(names.map(|name| restored.assign(now, name).unwrap()), addresses);
    assert_eq!(restored.len(), 3);
}
