//! One policy for the guard and the route: which way flows go, what is learnt of the proxy, and what
//! a new policy does to flows of the old one.

mod common;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pseudotcp_masque::{OpenError, OpenRequest, Target, Transport as _};
use pseudotcp_masque_mock::{Mock, Script};
use pseudotcp_packet::{Packet, Protocol, Transport, Unreachable};
use pseudotcp_pipeline::stack::Config;
use pseudotcp_pipeline::{Guard, Judge, KnownName, Names, Owners, Route, Stack};
use pseudotcp_policy::{
    Ipv6, Owner, Policy, Quic, RejectKind, Rule, Rules, RulesBuilder, Verdict, text,
};
use pseudotcp_testkit::TcpState;

use common::Lab;

fn policy(text: &str) -> Policy {
    let sheet = text::parse(text).unwrap_or_else(|errors| panic!("{errors}"));
    let rules = sheet.rules.into_iter().map(|entry| entry.rule);
    let rules = rules.fold(Rules::builder(), RulesBuilder::rule);
    let rules = sheet.otherwise.into_iter().fold(rules, RulesBuilder::otherwise);
    Policy::new(rules.build())
        .quic(sheet.quic.unwrap_or_default())
        .ipv6(sheet.ipv6.unwrap_or_default())
}

/// A pipeline with two ways out.
struct World {
    lab: Lab<Guard<Stack>>,
    judge: Judge,
    proxy: Mock,
    direct: Mock,
}

fn world(judge: Judge, proxy: Script) -> World {
    let (proxy, direct) = (Mock::new(proxy), Mock::new(Script::echo()));
    let ways = (Arc::new(proxy.clone()), Arc::new(direct.clone()));
    let route = Route::new(judge.clone(), ways.0, ways.1);
    let stack = Stack::new(Config::default(), Arc::new(route)).unwrap();
    let limit = stack.icmp_limit();
    World { lab: Lab::new(Guard::new(judge.clone(), limit, stack)), judge, proxy, direct }
}

impl World {
    fn opened(&self) -> (u64, u64) {
        (self.proxy.stats().requested, self.direct.stats().requested)
    }

    /// The ICMP error that the host hears next.
    async fn heard(&mut self) -> (u8, u8) {
        let mut heard: Option<Packet> = None;
        self.lab
            .until(|host| {
                heard = host.poll_icmp();
                heard.is_some()
            })
            .await;
        match heard.unwrap().transport() {
            Transport::Icmp(icmp) | Transport::Icmpv6(icmp) => (icmp.kind(), icmp.code()),
            other => panic!("no ICMP: {other:?}"),
        }
    }
}

const SPLIT: &str = "[[rule]]\nto = '192.0.2.0/28'\nverdict = 'direct'\n\
                     [[rule]]\nto = '192.0.2.99'\nverdict = 'reject'";

#[tokio::test(start_paused = true)]
async fn flows_go_the_way_that_the_policy_says() {
    let mut world = world(Judge::new(policy(SPLIT)), Script::echo());
    let direct = world.lab.connect("192.0.2.1:80");
    world.lab.until_state(direct, TcpState::Established).await;
    let proxied = world.lab.connect("192.0.2.16:80");
    world.lab.until_state(proxied, TcpState::Established).await;
    let refused = world.lab.connect("192.0.2.99:80");
    world.lab.until_state(refused, TcpState::Closed).await;
    assert_eq!(world.opened(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_new_policy_ends_what_it_does_not_allow_and_leaves_the_rest() {
    let mut world = world(Judge::new(policy(SPLIT)), Script::echo());
    let [kept, moved, forbidden] =
        ["192.0.2.16:80", "192.0.2.1:80", "192.0.2.17:80"].map(|target| world.lab.connect(target));
    for flow in [kept, moved, forbidden] {
        world.lab.until_state(flow, TcpState::Established).await;
    }
    let socket = world.lab.bind("192.0.2.17:7");
    let peer: SocketAddr = "192.0.2.17:7".parse().unwrap();
    world.lab.host.borrow_mut().send_to(socket, peer, b"hello");
    world.lab.until(|host| host.recv_from(socket).is_some()).await;

    let replaced = world.judge.replace(policy("[[rule]]\nto = '192.0.2.17'\nverdict = 'drop'"));
    let ended = world.lab.port.port_mut().retain(|flow| replaced.allows(flow));
    assert_eq!(ended, 3, "one that goes another way now, and two that go none");
    for flow in [moved, forbidden] {
        world.lab.until_state(flow, TcpState::Closed).await;
    }
    assert_eq!(world.heard().await, (3, 3));
    world.lab.send(kept, b"still here").await;
    assert_eq!(world.lab.recv(kept, 10).await, b"still here");
    let again = world.lab.connect("192.0.2.17:80");
    world.lab.pass(Duration::from_secs(2)).await;
    assert_eq!(world.lab.host.borrow().state(again), TcpState::SynSent);
}

#[tokio::test(start_paused = true)]
async fn a_held_syn_that_a_new_policy_forbids_is_refused() {
    let mut world = world(Judge::new(policy("")), Script::silent());
    let flow = world.lab.connect("192.0.2.1:80");
    world.lab.pass(Duration::from_millis(10)).await;
    let replaced = world.judge.replace(policy("otherwise = 'reject'"));
    assert_eq!(world.lab.port.port_mut().retain(|flow| replaced.allows(flow)), 1);
    world.lab.until_state(flow, TcpState::Closed).await;
}

#[tokio::test(start_paused = true)]
async fn a_proxy_without_ipv6_is_believed_after_two_hosts_and_asked_again_later() {
    let mut world = world(Judge::new(policy("")), Script::fail(|| OpenError::NoIpv6(None)));
    for (n, asked) in [(1, 1), (2, 2), (3, 2), (4, 2)] {
        world.lab.connect(&format!("[2001:db8::{n}]:80"));
        assert_eq!(world.heard().await, (1, 0));
        assert_eq!(world.opened().0, asked, "host {n}");
    }
    world.lab.pass(Duration::from_mins(2)).await;
    world.lab.connect("[2001:db8::5]:80");
    assert_eq!(world.heard().await, (1, 0));
    assert!(world.opened().0 > 2);
}

#[tokio::test(start_paused = true)]
async fn ipv6_that_is_off_is_told_at_once_and_quic_that_is_blocked_too() {
    let text = Policy::default().ipv6(Ipv6::Off).quic(Quic::Auto);
    let mut world = world(Judge::new(text), Script::echo());
    world.lab.connect("[2001:db8::1]:80");
    assert_eq!(world.heard().await, (1, 0));
    let (socket, h3) = (world.lab.bind("192.0.2.1:443"), "192.0.2.1:443".parse().unwrap());
    world.lab.host.borrow_mut().send_to(socket, h3, b"quic");
    assert_eq!(world.heard().await, (3, 3));
    assert_eq!(world.opened(), (0, 0));
    world.judge.set_over_quic(true);
    world.lab.host.borrow_mut().send_to(socket, h3, b"quic");
    world.lab.until(|host| host.recv_from(socket).is_some()).await;
}

/// 198.18.0.1 stands for a name, 192.0.2.1 is known by one.
struct Book;

impl Names for Book {
    fn name(&self, address: IpAddr) -> Option<KnownName> {
        let is_stand_in = address == IpAddr::from([198, 18, 0, 1]);
        let is_known = is_stand_in || address == IpAddr::from([192, 0, 2, 1]);
        is_known.then(|| KnownName { name: "www.example.com".into(), is_stand_in })
    }
}

/// The owner of every port below 10,100.
struct Census;

impl Owners for Census {
    fn owner(&self, _: Protocol, source: SocketAddr, to: Option<SocketAddr>) -> Option<Owner> {
        let known = source.port() < 10_100 && to.is_some();
        known.then_some(Owner { uid: Some(1_000), mark: None })
    }
}

#[tokio::test(start_paused = true)]
async fn names_and_owners_are_asked_for() {
    let text = "[[rule]]\nto = '.example.com'\nuser = 1000\nverdict = 'proxy'\n\
                [[rule]]\nto = '198.18.0.0/15'\nverdict = 'drop'\n\
                [[rule]]\nverdict = 'reject'";
    let judge = Judge::with(policy(text), Some(Box::new(Census)), Some(Box::new(Book)));
    let mut world = world(judge, Script::echo());
    for target in ["198.18.0.1:80", "192.0.2.1:80"] {
        let flow = world.lab.connect(target);
        world.lab.until_state(flow, TcpState::Established).await;
    }
    let nameless = world.lab.connect("192.0.2.2:80");
    world.lab.until_state(nameless, TcpState::Closed).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_only_the_route_knows_is_judged_there() {
    let cases = [
        ("closed", OpenError::Refused(None)),
        ("port-unreachable", OpenError::Refused(None)),
        ("host-unreachable", OpenError::Unreachable(None)),
        ("net-unreachable", OpenError::NoIpv6(None)),
        ("prohibited", OpenError::Denied(None)),
    ];
    let proxy = || Arc::new(Mock::new(Script::echo()));
    let open = |text: String, name| async move {
        let route = Route::new(Judge::new(policy(&text)), proxy(), proxy());
        let deadline = common::now() + Duration::from_secs(30);
        let request = OpenRequest::new(Target::host(name, 80)).with_deadline(deadline);
        route.open_udp(request).await.err()
    };
    for (answer, cause) in cases {
        let rule =
            format!("[[rule]]\nto = '.example.com'\nverdict = 'reject'\nanswer = '{answer}'");
        let heard = open(rule.clone(), "ads.example.com").await.map(|cause| cause.to_string());
        assert_eq!(heard, Some(cause.to_string()), "{answer}");
        assert!(open(rule, "example.org").await.is_none());
    }
    let (before, rule) =
        (common::now(), "[[rule]]\nto = '.example.com'\nverdict = 'drop'".to_owned());
    let heard = open(rule, "example.com").await;
    assert!(matches!(heard, Some(OpenError::TimedOut(_))), "{heard:?}");
    assert_eq!(common::now() - before, Duration::from_secs(30));
}

#[test]
fn a_replaced_policy_is_in_force_at_once() {
    let closed = Verdict::Reject(RejectKind::Closed);
    let judge = Judge::new(Rules::builder().rule(Rule::new(closed)).build());
    let flow = pseudotcp_packet::FlowKey::new(
        Protocol::Tcp,
        "10.0.0.1:1".parse().unwrap(),
        "192.0.2.1:1".parse().unwrap(),
    );
    assert_eq!(judge.decide(&flow), closed);
    let host = Verdict::Reject(RejectKind::Unreachable(Unreachable::Host));
    let _ = judge.replace(Rules::builder().otherwise(host).build());
    assert_eq!(judge.decide(&flow), host);
}
