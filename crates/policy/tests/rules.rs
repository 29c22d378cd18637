//! Rules and sets against examples, and against matchers that try everything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use pseudotcp_packet::{FlowKey, Protocol, Unreachable};
use pseudotcp_policy::{
    CidrSet, Decision, IpNet, IpVersion, RejectKind, Rule, Rules, Verdict, defaults,
};

fn flow(protocol: Protocol, to: &str) -> FlowKey {
    let to: SocketAddr = to.parse().unwrap();
    let from = if to.is_ipv6() { "[fd00::1]:5000" } else { "10.99.99.10:5000" };
    FlowKey::new(protocol, from.parse().unwrap(), to)
}

fn tcp(to: &str) -> FlowKey {
    flow(Protocol::Tcp, to)
}

fn udp(to: &str) -> FlowKey {
    flow(Protocol::Udp, to)
}

fn net(block: &str) -> IpNet {
    block.parse().unwrap()
}

fn reject(kind: Unreachable) -> Verdict {
    Verdict::Reject(RejectKind::Unreachable(kind))
}

#[test]
fn without_rules_all_is_for_the_proxy() {
    let decision = Rules::default().decide(&tcp("203.0.113.5:443"));
    assert_eq!(decision, Decision { verdict: Verdict::Proxy, rule: None });
    let rules = Rules::builder().otherwise(Verdict::Drop).build();
    assert_eq!(rules.decide(&tcp("203.0.113.5:443")).verdict, Verdict::Drop);
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = Rules::builder()
        .rule(Rule::new(Verdict::Direct).destinations([net("203.0.113.0/28")]))
        .rule(Rule::new(Verdict::Drop).destinations([net("203.0.113.0/24")]))
        .rule(Rule::new(Verdict::Direct))
        .build();
    for (to, verdict, rule) in [
        ("203.0.113.15:1", Verdict::Direct, 0),
        ("203.0.113.16:1", Verdict::Drop, 1),
        ("203.0.114.0:1", Verdict::Direct, 2),
    ] {
        assert_eq!(rules.decide(&tcp(to)), Decision { verdict, rule: Some(rule) }, "{to}");
    }
}

#[test]
fn every_kind_of_condition_narrows_a_rule() {
    let rule = Rule::new(Verdict::Drop)
        .version(IpVersion::V4)
        .protocol(Protocol::Tcp)
        .ports([80..=89, 443..=443])
        .destinations([net("203.0.113.0/24")])
        .sources([net("10.99.99.0/24")]);
    let rules = Rules::builder().rule(rule).build();
    let dropped = |flow: FlowKey| rules.decide(&flow).verdict == Verdict::Drop;
    assert!(
        ["203.0.113.5:80", "203.0.113.5:89", "203.0.113.5:443"].map(tcp).into_iter().all(dropped)
    );
    assert!(!dropped(tcp("203.0.113.5:79")));
    assert!(!dropped(tcp("203.0.113.5:90")));
    assert!(!dropped(tcp("203.0.112.5:80")));
    assert!(!dropped(udp("203.0.113.5:80")));
    let elsewhere = "10.99.98.10:5000".parse().unwrap();
    assert!(!dropped(FlowKey::new(Protocol::Tcp, elsewhere, "203.0.113.5:80".parse().unwrap())));
}

#[test]
fn versions_are_told_apart() {
    let rules = Rules::builder().rule(Rule::new(Verdict::Drop).version(IpVersion::V6)).build();
    assert_eq!(rules.decide(&tcp("203.0.113.5:80")).verdict, Verdict::Proxy);
    assert_eq!(rules.decide(&tcp("[2001:db8::5]:80")).verdict, Verdict::Drop);
}

#[test]
fn an_empty_condition_matches_nothing() {
    let rules = Rules::builder()
        .rule(Rule::new(Verdict::Drop).destinations([]))
        .rule(Rule::new(Verdict::Drop).ports([]))
        .build();
    assert_eq!(rules.decide(&tcp("203.0.113.5:80")).rule, None);
}

#[test]
fn private_ranges_of_both_versions_are_rejected_but_for_dns() {
    let rules = Rules::builder().rule(defaults::reject_private()).build();
    for private in [
        "0.0.0.0",
        "10.255.255.255",
        "127.0.0.1",
        "169.254.1.1",
        "172.16.0.0",
        "172.31.255.255",
        "192.168.0.1",
        "224.0.0.251",
        "239.255.255.250",
        "255.255.255.255",
        "[::]",
        "[::1]",
        "[::ffff:10.0.0.1]",
        "[fc00::1]",
        "[fdff::1]",
        "[fe80::1]",
        "[febf::1]",
        "[fec0::1]",
        "[ff02::fb]",
    ] {
        let to = format!("{private}:80");
        assert_eq!(rules.decide(&tcp(&to)).verdict, reject(Unreachable::Host), "{to}");
        assert_eq!(rules.decide(&udp(&to)).verdict, reject(Unreachable::Host), "{to}");
        assert_eq!(rules.decide(&udp(&format!("{private}:53"))).verdict, Verdict::Proxy);
    }
    for public in [
        "1.0.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "223.255.255.255",
        "[2001:db8::1]",
        "[2606:4700::1111]",
    ] {
        assert_eq!(rules.decide(&tcp(&format!("{public}:80"))).verdict, Verdict::Proxy, "{public}");
    }
}

#[test]
fn the_lan_can_be_bypassed() {
    let rules = Rules::builder().rule(defaults::bypass_private()).build();
    assert_eq!(rules.decide(&tcp("192.168.1.1:53")).verdict, Verdict::Direct);
    assert_eq!(rules.decide(&tcp("203.0.113.5:53")).verdict, Verdict::Proxy);
}

#[test]
fn dns_over_tls_is_refused_on_both_transports() {
    let rules = Rules::builder().rule(defaults::reject_dns_over_tls()).build();
    for to in ["203.0.113.5:853", "[2001:db8::5]:853"] {
        assert_eq!(rules.decide(&tcp(to)).verdict, reject(Unreachable::Port));
        assert_eq!(rules.decide(&udp(to)).verdict, reject(Unreachable::Port));
    }
    assert_eq!(rules.decide(&tcp("203.0.113.5:443")).verdict, Verdict::Proxy);
}

#[test]
fn ports_that_providers_refuse_are_refused_here() {
    let rules = Rules::builder().rule(defaults::reject_provider_refused()).build();
    for port in [0, 19, 25, 123, 161, 162, 179, 1_900, 3_283, 5_353, 11_211] {
        let verdict = rules.decide(&udp(&format!("203.0.113.5:{port}"))).verdict;
        assert_eq!(verdict, reject(Unreachable::Port), "{port}");
    }
    for port in [1, 53, 80, 443] {
        assert_eq!(rules.decide(&udp(&format!("203.0.113.5:{port}"))).rule, None, "{port}");
    }
}

#[test]
fn a_set_may_be_empty_or_hold_everything() {
    let empty = CidrSet::default();
    assert!(empty.is_empty() && !empty.contains(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let all: CidrSet = ["0.0.0.0/0", "::/0"].map(net).into_iter().collect();
    for ip in ["0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
        assert!(all.contains(ip.parse().unwrap()), "{ip}");
    }
}

#[test]
fn sets_that_say_the_same_are_equal() {
    let set = |blocks: &[&str]| blocks.iter().map(|block| net(block)).collect::<CidrSet>();
    assert_eq!(set(&["10.0.0.0/8", "10.1.2.3/32", "10.0.0.1/8"]), set(&["10.0.0.0/8"]));
}

/// Addresses from few values, so that they meet blocks often, and from the ends of the space.
fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = prop_oneof![0..64u32, (u32::MAX - 64)..=u32::MAX].prop_map(Ipv4Addr::from_bits);
    let v6 = prop_oneof![0..64u128, (u128::MAX - 64)..=u128::MAX].prop_map(Ipv6Addr::from_bits);
    prop_oneof![v4.prop_map(IpAddr::V4), v6.prop_map(IpAddr::V6)]
}

fn block() -> impl Strategy<Value = IpNet> {
    (address(), 0..=8u8).prop_map(|(address, wildcard)| {
        let max = if address.is_ipv6() { 128 } else { 32 };
        IpNet::new(address, max - wildcard).unwrap()
    })
}

/// A rule's conditions, as data.
#[derive(Clone, Debug)]
struct Conditions {
    verdict: Verdict,
    version: Option<IpVersion>,
    protocol: Option<Protocol>,
    ports: Option<Vec<(u16, u16)>>,
    destinations: Option<Vec<IpNet>>,
    sources: Option<Vec<IpNet>>,
}

impl Conditions {
    fn rule(&self) -> Rule {
        let mut rule = Rule::new(self.verdict);
        if let Some(version) = self.version {
            rule = rule.version(version);
        }
        if let Some(protocol) = self.protocol {
            rule = rule.protocol(protocol);
        }
        if let Some(ports) = &self.ports {
            rule = rule.ports(ports.iter().map(|&(first, last)| first..=last));
        }
        if let Some(blocks) = &self.destinations {
            rule = rule.destinations(blocks.iter().copied());
        }
        if let Some(blocks) = &self.sources {
            rule = rule.sources(blocks.iter().copied());
        }
        rule
    }

    fn match_naively(&self, flow: &FlowKey) -> bool {
        let (from, to) = (flow.source().ip(), flow.destination());
        let holds = |blocks: &Option<Vec<IpNet>>, ip: IpAddr| match blocks {
            Some(blocks) => blocks.iter().any(|block| block.contains(&ip)),
            None => true,
        };
        let in_ports = match &self.ports {
            Some(ports) => ports.iter().any(|&(a, b)| a <= to.port() && to.port() <= b),
            None => true,
        };
        self.version.is_none_or(|version| (version == IpVersion::V6) == to.is_ipv6())
            && self.protocol.is_none_or(|protocol| protocol == flow.protocol())
            && in_ports
            && holds(&self.destinations, to.ip())
            && holds(&self.sources, from)
    }
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let verdict = select(vec![Verdict::Proxy, Verdict::Direct, Verdict::Drop]);
    let version = proptest::option::of(select(vec![IpVersion::V4, IpVersion::V6]));
    let protocol = proptest::option::of(select(vec![Protocol::Tcp, Protocol::Udp]));
    let ports = proptest::option::of(vec((0..20u16, 0..20u16), 0..4));
    let blocks = || proptest::option::of(vec(block(), 0..6));
    (verdict, version, protocol, ports, blocks(), blocks()).prop_map(
        |(verdict, version, protocol, ports, destinations, sources)| Conditions {
            verdict,
            version,
            protocol,
            ports,
            destinations,
            sources,
        },
    )
}

fn any_flow() -> impl Strategy<Value = FlowKey> {
    let protocol = select(vec![Protocol::Tcp, Protocol::Udp]);
    (protocol, address(), address(), 0..20u16).prop_map(|(protocol, from, to, port)| {
        FlowKey::new(protocol, SocketAddr::new(from, 9), SocketAddr::new(to, port))
    })
}

proptest! {
    #[test]
    fn a_set_holds_what_its_blocks_hold(blocks in vec(block(), 0..40), ips in vec(address(), 1..40)) {
        let set: CidrSet = blocks.iter().copied().collect();
        for ip in ips {
            prop_assert_eq!(set.contains(ip), blocks.iter().any(|block| block.contains(&ip)), "{}", ip);
        }
    }

    #[test]
    fn rules_decide_as_a_naive_matcher_does(
        all in vec(conditions(), 0..8),
        flows in vec(any_flow(), 1..20),
    ) {
        let builder = all.iter().fold(Rules::builder(), |builder, each| builder.rule(each.rule()));
        let rules = builder.otherwise(Verdict::Direct).build();
        for flow in flows {
            let rule = all.iter().position(|each| each.match_naively(&flow));
            let verdict = rule.map_or(Verdict::Direct, |at| all[at].verdict);
            prop_assert_eq!(rules.decide(&flow), Decision { verdict, rule }, "{}", flow);
        }
    }
}
