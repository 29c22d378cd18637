//! Rules and sets against examples, and against matchers that try everything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use pseudotcp_packet::{FlowKey, Protocol, Unreachable};
use pseudotcp_policy::{
    CidrSet, Decision, IpNet, IpVersion, NamePattern, Owner, Question, RejectKind, Rule, Rules,
    Verdict, defaults,
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
    let decision = Rules::default().decide(tcp("203.0.113.5:443"));
    assert_eq!(decision, Decision { verdict: Verdict::Proxy, rule: None, limit: None });
    let rules = Rules::builder().otherwise(Verdict::Drop).build();
    assert_eq!(rules.decide(tcp("203.0.113.5:443")).verdict, Verdict::Drop);
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
        assert_eq!(
            rules.decide(tcp(to)),
            Decision { verdict, rule: Some(rule), limit: None },
            "{to}"
        );
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
    let dropped = |flow: FlowKey| rules.decide(flow).verdict == Verdict::Drop;
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
    assert_eq!(rules.decide(tcp("203.0.113.5:80")).verdict, Verdict::Proxy);
    assert_eq!(rules.decide(tcp("[2001:db8::5]:80")).verdict, Verdict::Drop);
}

#[test]
fn an_empty_condition_matches_nothing() {
    let rules = Rules::builder()
        .rule(Rule::new(Verdict::Drop).destinations([]))
        .rule(Rule::new(Verdict::Drop).ports([]))
        .build();
    assert_eq!(rules.decide(tcp("203.0.113.5:80")).rule, None);
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
        assert_eq!(rules.decide(tcp(&to)).verdict, reject(Unreachable::Host), "{to}");
        assert_eq!(rules.decide(udp(&to)).verdict, reject(Unreachable::Host), "{to}");
        assert_eq!(rules.decide(udp(&format!("{private}:53"))).verdict, Verdict::Proxy);
    }
    for public in [
        "1.0.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "223.255.255.255",
        "[2001:db8::1]",
        "[2606:4700::1111]",
    ] {
        assert_eq!(rules.decide(tcp(&format!("{public}:80"))).verdict, Verdict::Proxy, "{public}");
    }
}

#[test]
fn the_lan_can_be_bypassed() {
    let rules = Rules::builder().rule(defaults::bypass_lan()).build();
    assert_eq!(rules.decide(tcp("192.168.1.1:53")).verdict, Verdict::Direct);
    assert_eq!(rules.decide(tcp("203.0.113.5:53")).verdict, Verdict::Proxy);
}

#[test]
fn dns_over_tls_is_refused_on_both_transports() {
    let rules = Rules::builder().rule(defaults::reject_dns_over_tls()).build();
    for to in ["203.0.113.5:853", "[2001:db8::5]:853"] {
        assert_eq!(rules.decide(tcp(to)).verdict, reject(Unreachable::Port));
        assert_eq!(rules.decide(udp(to)).verdict, reject(Unreachable::Port));
    }
    assert_eq!(rules.decide(tcp("203.0.113.5:443")).verdict, Verdict::Proxy);
}

#[test]
fn ports_that_providers_refuse_are_refused_here() {
    let rules = Rules::builder().rule(defaults::reject_provider_refused()).build();
    for port in [0, 19, 25, 123, 161, 162, 179, 1_900, 3_283, 5_353, 11_211] {
        let verdict = rules.decide(udp(&format!("203.0.113.5:{port}"))).verdict;
        assert_eq!(verdict, reject(Unreachable::Port), "{port}");
    }
    for port in [1, 53, 80, 443] {
        assert_eq!(rules.decide(udp(&format!("203.0.113.5:{port}"))).rule, None, "{port}");
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

#[test]
fn names_match_whole_labels_in_any_letters() {
    let rule = |name: &str| Rule::new(Verdict::Drop).names([name.parse().unwrap()]);
    let dropped = |rule: Rule, name: &str| {
        let question = Question::new(Protocol::Tcp).name(name);
        Rules::builder().rule(rule).build().decide(question).verdict == Verdict::Drop
    };
    for name in ["example.com", "EXAMPLE.com."] {
        assert!(dropped(rule("Example.COM"), name) && dropped(rule(".example.com"), name));
    }
    assert!(dropped(rule(".example.com"), "a.b.example.com"));
    for name in ["a.example.com", "badexample.com", "com", ""] {
        assert!(!dropped(rule("example.com"), name), "{name}");
    }
    assert!(!dropped(rule(".example.com"), "badexample.com"));
    for bad in ["", ".", "a..b", "*.example.com", "exämple.com", "a b", &"a".repeat(64)] {
        assert!(bad.parse::<NamePattern>().is_err(), "{bad}");
    }
}

#[test]
fn blocks_and_names_are_alternatives_and_other_kinds_narrow() {
    let rule = Rule::new(Verdict::Drop)
        .destinations([net("203.0.113.0/24")])
        .names(["example.com".parse().unwrap()])
        .ports([80..=80]);
    let rules = Rules::builder().rule(rule).build();
    let dropped = |question: Question<'_>| rules.decide(question).verdict == Verdict::Drop;
    let by_name = Question::new(Protocol::Tcp).name("example.com");
    assert!(dropped(tcp("203.0.113.5:80").into()) && dropped(by_name.port(80)));
    assert!(!dropped(tcp("203.0.113.5:81").into()) && !dropped(by_name.port(81)));
    assert!(!dropped(by_name), "of an unknown port no condition holds");
    let stand_in = Question::from(tcp("203.0.113.5:80")).name("other.example").without_address();
    assert!(!dropped(stand_in));
}

#[test]
fn owners_match_where_they_are_known() {
    let rules = Rules::builder().rule(Rule::new(Verdict::Direct).users([1_000..=1_999])).build();
    let verdict = |uid| {
        let owner = Owner { uid, ..Owner::default() };
        rules.decide(Question::from(tcp("203.0.113.5:80")).owner(owner)).verdict
    };
    assert!(rules.ask_owner() && !Rules::default().ask_owner());
    assert_eq!(verdict(Some(1_999)), Verdict::Direct);
    assert_eq!([None, Some(0), Some(2_000)].map(verdict), [Verdict::Proxy; 3]);
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

fn port_range() -> impl Strategy<Value = (u16, u16)> {
    (0..20u16, 0..20u16)
}

fn number_range() -> impl Strategy<Value = (u32, u32)> {
    (0..6u32, 0..6u32)
}

/// Few labels, so that names are often equal to, or below, one another.
fn domain() -> impl Strategy<Value = String> {
    vec(select(vec!["a", "b", "xn--c"]), 1..4).prop_map(|labels| labels.join("."))
}

fn name_pattern() -> impl Strategy<Value = String> {
    (domain(), any::<bool>())
        .prop_map(|(name, below)| format!("{}{name}", if below { "." } else { "" }))
}

/// A rule's conditions, as data.
#[derive(Clone, Debug)]
struct Conditions {
    verdict: Verdict,
    version: Option<IpVersion>,
    protocol: Option<Protocol>,
    ports: Option<Vec<(u16, u16)>>,
    destinations: Option<(Vec<IpNet>, Vec<String>)>,
    sources: Option<Vec<IpNet>>,
    users: Option<Vec<(u32, u32)>>,
    marks: Option<Vec<(u32, u32)>>,
}

/// A flow, as data.
#[derive(Clone, Debug)]
struct Flow {
    protocol: Protocol,
    source: IpAddr,
    destination: Option<IpAddr>,
    port: Option<u16>,
    name: Option<String>,
    owner: Owner,
}

impl Flow {
    fn question(&self) -> Question<'_> {
        let mut question = Question::new(self.protocol).source(self.source).owner(self.owner);
        question = self.destination.into_iter().fold(question, Question::destination);
        question = self.port.into_iter().fold(question, Question::port);
        self.name.iter().fold(question, |question, name| question.name(name))
    }
}

impl Conditions {
    fn rule(&self) -> Rule {
        fn ranges<T: Copy>(pairs: &[(T, T)]) -> impl Iterator<Item = RangeInclusive<T>> {
            pairs.iter().map(|&(first, last)| first..=last)
        }
        let mut rule = Rule::new(self.verdict);
        rule = self.version.into_iter().fold(rule, Rule::version);
        rule = self.protocol.into_iter().fold(rule, Rule::protocol);
        rule = self.ports.iter().fold(rule, |rule, ports| rule.ports(ranges(ports)));
        rule = self.users.iter().fold(rule, |rule, users| rule.users(ranges(users)));
        rule = self.marks.iter().fold(rule, |rule, marks| rule.marks(ranges(marks)));
        if let Some((blocks, names)) = &self.destinations {
            let patterns = names.iter().map(|name| name.parse::<NamePattern>().unwrap());
            rule = rule.destinations(blocks.iter().copied()).names(patterns);
        }
        self.sources.iter().fold(rule, |rule, blocks| rule.sources(blocks.iter().copied()))
    }

    fn match_naively(&self, flow: &Flow) -> bool {
        fn is_in<T: PartialOrd>(ranges: Option<&Vec<(T, T)>>, value: Option<T>) -> bool {
            let holds = |value: T| {
                ranges.iter().copied().flatten().any(|(a, b)| *a <= value && value <= *b)
            };
            ranges.is_none() || value.is_some_and(holds)
        }
        let block_holds =
            |blocks: &[IpNet], ip: IpAddr| blocks.iter().any(|block| block.contains(&ip));
        let to_address =
            |blocks: &[IpNet]| flow.destination.is_some_and(|ip| block_holds(blocks, ip));
        let to_name = |names: &[String]| {
            let matches = |pattern: &String, name: &str| match pattern.strip_prefix('.') {
                Some(domain) => name == domain || name.ends_with(pattern),
                None => name == pattern,
            };
            let name = flow.name.as_ref().map(|name| name.trim_end_matches('.').to_lowercase());
            name.is_some_and(|name| names.iter().any(|pattern| matches(pattern, &name)))
        };
        let is_v6 = flow.destination.unwrap_or(flow.source).is_ipv6();
        self.version.is_none_or(|version| (version == IpVersion::V6) == is_v6)
            && self.protocol.is_none_or(|protocol| protocol == flow.protocol)
            && is_in(self.ports.as_ref(), flow.port)
            && is_in(self.users.as_ref(), flow.owner.uid)
            && is_in(self.marks.as_ref(), flow.owner.mark)
            && self
                .destinations
                .as_ref()
                .is_none_or(|(blocks, names)| to_address(blocks) || to_name(names))
            && self.sources.as_ref().is_none_or(|blocks| block_holds(blocks, flow.source))
    }
}

fn conditions() -> impl Strategy<Value = Conditions> {
    use proptest::option::weighted;
    let verdict = select(vec![Verdict::Proxy, Verdict::Direct, Verdict::Drop]);
    let version = weighted(0.2, select(vec![IpVersion::V4, IpVersion::V6]));
    let protocol = weighted(0.2, select(vec![Protocol::Tcp, Protocol::Udp]));
    let ports = weighted(0.2, vec(port_range(), 0..4));
    let destinations = weighted(0.6, (vec(block(), 0..6), vec(name_pattern(), 0..3)));
    let sources = weighted(0.3, vec(block(), 0..6));
    let numbers = || weighted(0.2, vec(number_range(), 0..3));
    (verdict, version, protocol, ports, destinations, sources, numbers(), numbers()).prop_map(
        |(verdict, version, protocol, ports, destinations, sources, users, marks)| Conditions {
            verdict,
            version,
            protocol,
            ports,
            destinations,
            sources,
            users,
            marks,
        },
    )
}

fn any_flow() -> impl Strategy<Value = Flow> {
    use proptest::option::of;
    let protocol = select(vec![Protocol::Tcp, Protocol::Udp]);
    let name =
        of((domain(), select(vec!["", "."]), any::<bool>()).prop_map(|(name, dot, shout)| {
            let name = if shout { name.to_uppercase() } else { name };
            name + dot
        }));
    let owner = (of(0..6u32), of(0..6u32)).prop_map(|(uid, mark)| Owner { uid, mark });
    (protocol, address(), of(address()), of(0..20u16), name, owner).prop_map(
        |(protocol, source, destination, port, name, owner)| Flow {
            protocol,
            source,
            destination,
            port,
            name,
            owner,
        },
    )
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
        all in vec(conditions(), 0..12),
        flows in vec(any_flow(), 1..20),
    ) {
        let builder = all.iter().fold(Rules::builder(), |builder, each| builder.rule(each.rule()));
        let rules = builder.otherwise(Verdict::Direct).build();
        for flow in flows {
            let rule = all.iter().position(|each| each.match_naively(&flow));
            let verdict = rule.map_or(Verdict::Direct, |at| all[at].verdict);
            prop_assert_eq!(rules.decide(flow.question()), Decision { verdict, rule, limit: None }, "{:?}", flow);
        }
    }
}
