//! DNS as apps meet it: asked by dig, kdig and curl, answered by BIND behind the proxy.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::clock::{self, timed};
use crate::support::lab::{ELSEWHERE, Lab, SERVERS};
use crate::support::need::{self, Need};
use crate::support::process::Process;
use crate::support::proxy::{self, Kind};
use crate::support::{client, named};

const NAMED: Need = Need::Program("named");
const KDIG: Need = Need::Program("kdig");
const CURL: Need = Need::Program("curl");

const DOH: &str = "https://198.51.100.2:8440/dns-query";

/// A lab with a DNS server behind our proxy, and the program with these options of DNS.
struct World {
    lab: Lab,
    named: Process,
    _proxy: Process,
    _client: Process,
}

impl World {
    fn new(arguments: &[&str]) -> Self {
        let lab = Lab::new();
        let named = named::start(&lab, named::FIRST);
        lab.proxy.resolve_by(SERVERS[0]);
        let proxy = proxy::start(&lab, Kind::Ours);
        let ca = lab.certificate.chain.display().to_string();
        let client = client::up(&lab, &[&["--dns-ca", &ca], arguments].concat());
        Self { lab, named, _proxy: proxy, _client: client }
    }

    /// What kdig prints about a question to a server that does not exist.
    fn ask(&self, question: &[&str]) -> String {
        ask(&self.lab, ELSEWHERE[0], question)
    }
}

fn ask(lab: &Lab, server: &str, question: &[&str]) -> String {
    let mut kdig = lab.client.command("kdig");
    kdig.arg(format!("@{server}")).args(["+retry=0", "+time=5"]).args(question);
    let output = kdig.output().expect("run kdig");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn d36_dns_over_udp_and_tcp_is_answered_through_https() {
    if !need::met(&[NAMED, KDIG]) {
        return;
    }
    let world = World::new(&["--dns-server", DOH]);
    for server in ELSEWHERE {
        for carrier in ["+notcp", "+tcp"] {
            let ask = |question: &[&str]| ask(&world.lab, server, &[question, &[carrier]].concat());
            assert!(ask(&["www.example", "A"]).contains(SERVERS[0]), "{server} {carrier}");
            assert!(ask(&["www.example", "AAAA"]).contains(SERVERS[1]), "{server} {carrier}");
            assert!(ask(&["alias.example", "A"]).contains(SERVERS[0]), "{server} {carrier}");
            assert!(ask(&["none.example", "A"]).contains("NXDOMAIN"), "{server} {carrier}");
        }
    }
}

/// GET, DNS over TLS and plain DNS: each is the only server, and has the whole of a large answer.
#[test]
fn d35_every_kind_of_server_gives_large_answers_whole() {
    if !need::met(&[NAMED, KDIG]) {
        return;
    }
    for server in
        ["https://198.51.100.2:8440/dns-query{?dns}", "tls://198.51.100.2:8441", SERVERS[1]]
    {
        let world = World::new(&["--dns-server", server]);
        let cut = world.ask(&["large.example", "TXT", "+bufsize=1232", "+ignore"]);
        assert!(cut.contains(" tc"), "{server}: {cut}");
        let whole = world.ask(&["large.example", "TXT", "+short"]);
        assert!(whole.len() >= named::LARGE, "{server}: {whole}");
    }
}

#[test]
fn d33_ttls_are_seen_to_decrease() {
    if !need::met(&[NAMED, KDIG]) {
        return;
    }
    let world = World::new(&["--dns-server", DOH]);
    let ttl = || -> u32 {
        let answer = world.ask(&["www.example", "A", "+noall", "+answer"]);
        let ttl = answer.split_whitespace().nth(1).and_then(|ttl| ttl.parse().ok());
        ttl.unwrap_or_else(|| panic!("no TTL in {answer:?}"))
    };
    assert_eq!(ttl(), 300);
    let limit = clock::now() + Duration::from_secs(10);
    while ttl() == 300 {
        assert!(clock::now() < limit, "the TTL stays at 300");
    }
}

/// The first server dies, or falls silent; questions go to the second.
#[test]
fn d34_another_server_answers_when_the_first_stops() {
    if !need::met(&[NAMED, KDIG]) {
        return;
    }
    let second = "https://198.51.100.2:9440/dns-query";
    for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
        let world = World::new(&["--dns-server", DOH, "--dns-server", second]);
        let _second = named::start(&world.lab, 9_440);
        assert!(world.ask(&["one.example", "A"]).contains(SERVERS[0]));
        world.named.signal(signal);
        let (answer, took) = timed(|| world.ask(&["two.example", "A"]));
        assert!(answer.contains(SERVERS[0]), "{signal}: {answer}");
        println!("after {signal} the first answer took {took:?}");
    }
}

#[test]
fn a_failure_is_told_at_once_and_says_why() {
    if !need::met(&[NAMED, KDIG]) {
        return;
    }
    let world = World::new(&["--dns-server", "198.51.100.2:9"]);
    let answer = world.ask(&["www.example", "A", "+edns"]);
    assert!(answer.contains("SERVFAIL") && answer.contains("EDE"), "{answer}");
}

/// Names in their own zone are asked at their own server.
#[test]
fn names_below_a_suffix_have_their_own_server() {
    if !need::met(&[NAMED, KDIG]) {
        return;
    }
    let split = format!("example={}", SERVERS[0]);
    let world = World::new(&["--dns-server", "198.51.100.2:9", "--dns-split", &split]);
    assert!(world.ask(&["www.example", "A"]).contains(SERVERS[0]));
    assert!(world.ask(&["www.test", "A"]).contains("SERVFAIL"));
}

/// What a page does: several names, one after another and at once.
#[test]
fn pages_of_several_names_load() {
    if need::met(&[NAMED, CURL]) {
        load_pages(&["--dns-server", DOH]);
    }
}

/// The proxy resolves: there is no DNS server but its own. To rules the fake addresses are names,
/// not private addresses.
#[test]
fn pages_of_several_names_load_by_fake_addresses() {
    if need::met(&[NAMED, CURL]) {
        load_pages(&["--dns", "fake", "--dns-server", "198.51.100.2:9", "--reject-private"]);
    }
}

#[test]
fn fake_addresses_have_names_and_keep_them_across_runs() {
    if !need::met(&[NAMED, KDIG]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let file = lab.file("fake").display().to_string();
    let arguments = ["--dns", "fake", "--dns-fake-file", &file];
    let address = |name: &str| ask(&lab, ELSEWHERE[1], &[name, "A", "+short"]);
    let mut client = client::up(&lab, &arguments);
    let (first, second) = (address("one.example"), address("two.example"));
    assert!(first.starts_with("198.18.") && second.starts_with("198.18."), "{first} {second}");
    assert_ne!(first, second);
    let back = ask(&lab, ELSEWHERE[0], &["-x", second.trim(), "+short"]);
    assert_eq!(back.trim(), "two.example.");
    client.signal(Signal::SIGTERM);
    client.wait(Duration::from_secs(5));
    let _client = client::up(&lab, &arguments);
    assert_eq!((address("two.example"), address("one.example")), (second, first));
}

fn load_pages(arguments: &[&str]) {
    let world = World::new(arguments);
    world.lab.serve_web();
    world.lab.client.resolve_by(ELSEWHERE[0]);
    let mut curl = world.lab.client.command("curl");
    curl.args(["--silent", "--show-error", "--fail", "--parallel", "--max-time", "30"]);
    for name in ["www", "one", "two", "three", "alias"] {
        curl.args(["--output", "-"]).arg(format!("http://{name}.example/bytes/1000"));
    }
    let output = curl.output().expect("run curl");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaint}", output.status);
    assert_eq!(output.stdout.len(), 5_000, "{complaint}");
}
