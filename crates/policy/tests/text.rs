//! Rules as people write them: what they mean, and what is said about mistakes.

use std::net::SocketAddr;

use proptest::prelude::*;
use pseudotcp_packet::{FlowKey, Protocol, Unreachable};
use pseudotcp_policy::text::{Sheet, parse};
use pseudotcp_policy::{
    Ipv6, Limit, Owner, Policy, ProxyState, Question, Quic, RejectKind, Rules, RulesBuilder,
    Verdict,
};

fn rules(text: &str) -> Rules {
    let sheet = parse(text).unwrap_or_else(|errors| panic!("{errors}"));
    let builder =
        sheet.rules.into_iter().map(|entry| entry.rule).fold(Rules::builder(), RulesBuilder::rule);
    sheet.otherwise.into_iter().fold(builder, RulesBuilder::otherwise).build()
}

fn flow(protocol: Protocol, to: &str) -> Question<'static> {
    let to: SocketAddr = to.parse().unwrap();
    let from = if to.is_ipv6() { "[fd00::1]:5000" } else { "10.99.99.10:5000" };
    FlowKey::new(protocol, from.parse().unwrap(), to).into()
}

fn tcp(to: &str) -> Question<'static> {
    flow(Protocol::Tcp, to)
}

const WHOLE: &str = r#"
otherwise = "direct"
quic = "block"
ipv6 = "off"

[sets]
office = ["203.0.113.0/24", "2001:db8:aa::/48"]
printer = "192.168.7.9"

[[rule]]
to = ["office", ".intra.example", "printer"]
protocol = ["tcp", "icmp"]
verdict = "proxy"

[[rule]]
from = "10.99.99.0/24"
to = "private"
port = ["dns-over-tls", 22, "8000-8999"]
ip = 4
verdict = "reject"
answer = "host-unreachable"

[[rule]]
user = [0, "1000-1999"]
mark = 0x100
verdict = "drop"
"#;

#[test]
fn every_key_means_what_it_says() {
    let rules = rules(WHOLE);
    let host = Verdict::Reject(RejectKind::Unreachable(Unreachable::Host));
    let owner = Owner { uid: Some(1_500), mark: Some(256) };
    for (question, verdict) in [
        (tcp("203.0.113.5:80"), Verdict::Proxy),
        (tcp("[2001:db8:aa::1]:80"), Verdict::Proxy),
        (tcp("192.168.7.9:22"), Verdict::Proxy),
        (tcp("198.51.100.1:1").name("www.intra.example"), Verdict::Proxy),
        (
            Question::new(Protocol::Icmpv6).destination("2001:db8:aa::1".parse().unwrap()),
            Verdict::Proxy,
        ),
        (flow(Protocol::Udp, "203.0.113.5:80"), Verdict::Direct),
        (tcp("192.168.7.8:22"), host),
        (tcp("192.168.7.8:853"), host),
        (tcp("192.168.7.8:8999"), host),
        (tcp("192.168.7.8:23"), Verdict::Direct),
        (tcp("[fd12::1]:22"), Verdict::Direct),
        (tcp("192.168.7.8:22").source("10.1.1.1".parse().unwrap()), Verdict::Direct),
        (tcp("198.51.100.1:1").owner(owner), Verdict::Drop),
        (tcp("198.51.100.1:1").owner(Owner { mark: None, ..owner }), Verdict::Direct),
    ] {
        assert_eq!(rules.decide(question).verdict, verdict, "{question:?}");
    }
}

#[test]
fn rules_are_known_by_line_and_text() {
    let sheet = parse(WHOLE).unwrap();
    let places: Vec<_> =
        sheet.rules.iter().map(|entry| format!("{}: {}", entry.line, entry.text)).collect();
    insta::assert_snapshot!(places.join("\n"), @r#"
    10: to = ["office", ".intra.example", "printer"], protocol = ["tcp", "icmp"], verdict = "proxy"
    15: from = "10.99.99.0/24", to = "private", port = ["dns-over-tls", 22, "8000-8999"], ip = 4, verdict = "reject", answer = "host-unreachable"
    23: user = [0, "1000-1999"], mark = 0x100, verdict = "drop"
    "#);
    assert_eq!((sheet.quic, sheet.ipv6), (Some(Quic::Block), Some(Ipv6::Off)));
}

#[test]
fn a_long_list_does_not_make_a_long_line() {
    let blocks: Vec<_> = (0..=255).map(|n| format!("\"10.0.{n}.0/24\"")).collect();
    let text = format!("[[rule]]\nto = [{}]\nverdict = 'drop'", blocks.join(",\n"));
    let line = &parse(&text).unwrap().rules[0].text;
    assert!(line.chars().count() == 160 && line.ends_with('…'), "{line}");
}

#[test]
fn an_empty_text_says_nothing() {
    let Sheet { rules, otherwise, quic, ipv6, .. } = parse("").unwrap();
    assert!(rules.is_empty() && otherwise.is_none() && quic.is_none() && ipv6.is_none());
}

/// All that can be wrong, each in a line of its own.
const WRONG: &str = r#"otherwise = "accept"
quick = "auto"
quic = true
[sets]
private = ["10.0.0.0/8"]
office = ["203.0.113.0/33", 7]
[[rule]]
prots = 80
verdict = "reject"
[[rule]]
port = "80-"
verdict = "allow"
[[rule]]
to = ["10.0.0.0/33", "privte", "offce", "*.example.com", "bücher.example", "300.1.2.3"]
from = "app.example"
port = ["90-80", 65536, "htp", -1, "1-+2", "provider-refuse"]
protocol = "sctp"
ip = 5
user = "root"
mark = []
verdict = "drop"
answer = "host-unreachable"
[[rule]]
verdict = "reject"
answer = "no"
[[rule]]
port = 80
"#;

#[test]
fn mistakes_are_told_by_line_and_value() {
    insta::assert_snapshot!(parse(WRONG).unwrap_err().to_string());
    insta::assert_snapshot!(
        "not_toml",
        parse("[[rule]]\nto = \"10.0.0.0/8\nport = 80").unwrap_err().to_string()
    );
    insta::assert_snapshot!(
        "single_brackets",
        parse("[rule]\nverdict = \"drop\"").unwrap_err().to_string()
    );
    insta::assert_snapshot!(
        "twice",
        parse("quic = \"auto\"\nquic = \"block\"").unwrap_err().to_string()
    );
}

#[test]
fn quic_is_blocked_where_the_rules_would_send_it_through_the_proxy() {
    let rules = || rules("[[rule]]\nto = '192.0.2.0/24'\nverdict = 'direct'");
    let verdict = |quic, over_quic, to: &str, protocol| {
        let state = ProxyState { over_quic, ..ProxyState::default() };
        Policy::new(rules()).quic(quic).decide(flow(protocol, to), state)
    };
    let blocked = Verdict::Reject(RejectKind::Unreachable(Unreachable::Port));
    let h3 = |quic, over_quic| verdict(quic, over_quic, "203.0.113.5:443", Protocol::Udp).verdict;
    assert_eq!([false, true].map(|over| h3(Quic::Allow, over)), [Verdict::Proxy; 2]);
    assert_eq!([false, true].map(|over| h3(Quic::Block, over)), [blocked; 2]);
    assert_eq!([false, true].map(|over| h3(Quic::Auto, over)), [blocked, Verdict::Proxy]);
    for (to, protocol, expected) in [
        ("203.0.113.5:443", Protocol::Tcp, Verdict::Proxy),
        ("203.0.113.5:444", Protocol::Udp, Verdict::Proxy),
        ("192.0.2.1:443", Protocol::Udp, Verdict::Direct),
    ] {
        let decision = verdict(Quic::Block, false, to, protocol);
        assert_eq!((decision.verdict, decision.limit), (expected, None), "{to}");
    }
}

#[test]
fn ipv6_is_refused_at_once_where_the_proxy_has_none() {
    let decide = |ipv6, lacks_ipv6, question: Question<'_>| {
        let state = ProxyState { lacks_ipv6, ..ProxyState::default() };
        Policy::default().ipv6(ipv6).decide(question, state)
    };
    let v6 = tcp("[2001:db8::1]:80");
    for (ipv6, lacks, refused) in [
        (Ipv6::Auto, false, false),
        (Ipv6::Auto, true, true),
        (Ipv6::On, true, false),
        (Ipv6::Off, false, true),
    ] {
        let decision = decide(ipv6, lacks, v6);
        assert_eq!(decision.limit, refused.then_some(Limit::Ipv6), "{ipv6:?}");
    }
    let kind = |question| decide(Ipv6::Off, false, question).verdict;
    let unreachable = |kind| Verdict::Reject(RejectKind::Unreachable(kind));
    assert_eq!(kind(v6), unreachable(Unreachable::Network));
    assert_eq!(kind(flow(Protocol::Udp, "[2001:db8::1]:80")), unreachable(Unreachable::Port));
    assert_eq!(kind(tcp("192.0.2.1:80")), Verdict::Proxy);
    assert_eq!(kind(v6.name("example.com").without_address()), Verdict::Proxy);
}

proptest! {
    #[test]
    fn no_text_panics(text in "[\\[\\]=\"'a-z0-9.,/:\n -]{0,80}", at in 0..WHOLE.len()) {
        let _ = parse(&text);
        let mut broken = WHOLE.to_owned();
        broken.insert_str(at, &text);
        let _ = parse(&broken);
    }
}
