//! DNS as apps meet it: asked by dig, kdig and curl, answered by BIND behind the proxy.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::clock::{self, timed};
use crate::support::lab::{ELSEWHERE, Lab, PROXY, SERVERS};
use crate::support::need::{self, Need};
use crate::support::process::Process;
use crate::support::proxy::{self, Kind};
use crate::support::{client, dns_message, named};

const NAMED: Need = Need::Program("named");
const KDIG: Need = Need::Program("kdig");
const CURL: Need = Need::Program("curl");

const DOH: &str = "https://198.51.100.2:8440/dns-query";

/// A lab with a DNS server behind our proxy, and the program with these options of DNS.
struct World {
    lab: Lab,
    named: Process,
    client: Process,
    _proxy: Process,
}

impl World {
    fn new(arguments: &[&str]) -> Self {
        let lab = Lab::new();
        let named = named::start(&lab, named::FIRST);
        lab.proxy.resolve_by(SERVERS[0]);
        let proxy = proxy::start(&lab, Kind::Ours);
        let ca = lab.certificate.chain.display().to_string();
        let client = client::up(&lab, &[&["--dns-ca", &ca], arguments].concat());
        Self { lab, named, client, _proxy: proxy }
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

/// GET, a host by name whose address is given, DNS over TLS and plain DNS: each is the only server, and
/// has the whole of a large answer.
#[test]
fn d35_every_kind_of_server_gives_large_answers_whole() {
    if !need::met(&[NAMED, KDIG]) {
        return;
    }
    for server in [
        "https://198.51.100.2:8440/dns-query{?dns}",
        "https://dns.test:8440/dns-query@198.51.100.2",
        "tls://198.51.100.2:8441",
        SERVERS[1],
    ] {
        let world = World::new(&["--dns-server", server]);
        let cut = world.ask(&["large.example", "TXT", "+bufsize=1232", "+ignore"]);
        assert!(cut.contains(" tc"), "{server}: {cut}");
        let whole = world.ask(&["large.example", "TXT", "+short"]);
        assert!(whole.len() >= named::LARGE, "{server}: {whole}");
    }
}

#[test]
fn a_connection_to_a_server_is_kept_and_made_anew_when_it_is_lost() {
    if !need::met(&[NAMED, KDIG]) {
        return;
    }
    for (server, port) in [(DOH, 8_440), ("tls://198.51.100.2:8441", 8_441)] {
        let world = World::new(&["--dns-server", server]);
        for name in ["one.example", "two.example", "three.example"] {
            assert!(world.ask(&[name, "A"]).contains(SERVERS[0]), "{server}");
        }
        let mut ss = world.lab.server.command("ss");
        ss.args(["-Htn", "state", "established", &format!("sport = :{port}")]);
        let connections = ss.output().expect("run ss").stdout;
        assert_eq!(String::from_utf8_lossy(&connections).lines().count(), 1, "{server}");
        let World { lab, named, client: _client, _proxy } = world;
        drop(named);
        let _named = named::start(&lab, named::FIRST);
        let answer = ask(&lab, ELSEWHERE[0], &["only4.example", "A"]);
        assert!(answer.contains(SERVERS[0]), "{server}: {answer}");
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

/// The first server dies, or falls silent; questions go to the second, and the first answer is there
/// soon. Others may keep this machine from its work, so one quick answer of several is enough.
#[test]
fn d34_another_server_answers_when_the_first_stops() {
    if !need::met(&[NAMED, KDIG]) {
        return;
    }
    for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
        let mut times = (0..5).map(|_| time_without(signal)).inspect(|took| {
            println!("after {signal} the first answer took {took:?}");
        });
        assert!(times.any(|took| took < Duration::from_millis(300)), "{signal}");
    }
}

/// How long the first answer takes when the first server has got this signal.
fn time_without(signal: Signal) -> Duration {
    let second = "https://198.51.100.2:9440/dns-query";
    let world = World::new(&["--dns-server", DOH, "--dns-server", second]);
    let _second = named::start(&world.lab, 9_440);
    assert!(world.ask(&["one.example", "A"]).contains(SERVERS[0]));
    let socket = world.lab.client.run(|| UdpSocket::bind("0.0.0.0:0")).expect("bind");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
    let ((), took) = timed(|| {
        world.named.signal(signal);
        socket.send_to(&dns_message::question("two.example"), (ELSEWHERE[0], 53)).expect("ask");
        let mut answer = [0; 512];
        let len = socket.recv(&mut answer).expect("an answer");
        assert!(dns_message::is_answer(&answer[..len]), "{signal}");
    });
    took
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

/// The policy sends them past the proxy, so the machine's own server is asked, past the proxy as well.
#[test]
fn names_that_go_past_the_proxy_are_asked_of_the_machines_own_server() {
    if !need::met(&[NAMED, KDIG]) {
        return;
    }
    let rules = "[[rule]]\nto = '.example'\nverdict = 'direct'\n";
    for mode in ["resolve", "fake"] {
        let lab = Lab::new();
        let _named = named::start_in(&lab, &lab.proxy, named::FIRST);
        let _proxy = proxy::start(&lab, Kind::Ours);
        let file = lab.file("rules.toml");
        std::fs::write(&file, rules).expect("write the rules");
        lab.client.resolve_by(PROXY);
        let file = file.display().to_string();
        let arguments = ["--dns", mode, "--dns-server", "198.51.100.2:9", "--policy", &file];
        let _client = client::up(&lab, &[&arguments[..], &["--mark", "4242"]].concat());
        let answer = ask(&lab, ELSEWHERE[0], &["www.example", "A"]);
        assert!(answer.contains(SERVERS[0]), "{mode}: {answer}");
        let other = ask(&lab, ELSEWHERE[0], &["www.test", "A"]);
        assert!(other.contains(if mode == "fake" { "198.18." } else { "SERVFAIL" }), "{other}");
    }
}

/// Two servers that are not asked themselves, and one that is.
#[test]
fn questions_to_some_servers_are_left_alone_or_redirected() {
    if !need::met(&[NAMED, KDIG]) {
        return;
    }
    let lab = Lab::new();
    let _named = named::start(&lab, named::FIRST);
    let _proxy = proxy::start(&lab, Kind::Ours);
    let redirected = format!("203.0.113.0/24={}", SERVERS[0]);
    let alone = format!("{}/32", SERVERS[0]);
    let arguments = ["--dns-server", "198.51.100.2:9", "--dns-redirect", &redirected];
    let _client = client::up(&lab, &[&arguments[..], &["--dns-pass", &alone]].concat());
    for carrier in ["+notcp", "+tcp"] {
        for server in [ELSEWHERE[0], SERVERS[0]] {
            let answer = ask(&lab, server, &["www.example", "A", carrier]);
            assert!(answer.contains(" aa ") && answer.contains(SERVERS[0]), "{server}: {answer}");
        }
        assert!(ask(&lab, ELSEWHERE[1], &["www.example", "A", carrier]).contains("SERVFAIL"));
    }
}

/// Apps that prefer DNS over TLS fall back at once; the program itself may use it.
#[test]
fn dns_over_tls_is_refused_to_apps_unless_allowed() {
    if !need::met(&[NAMED, KDIG]) {
        return;
    }
    let lab = Lab::new();
    let _named = named::start(&lab, 852);
    let _proxy = proxy::start(&lab, Kind::Ours);
    let ca = lab.certificate.chain.display().to_string();
    let server = format!("tls://{}", SERVERS[0]);
    let arguments = ["--dns-ca", &ca, "--dns-server", &server];
    let connect = || {
        let target = SocketAddr::new(SERVERS[0].parse().expect("an address"), 853);
        lab.client.run(|| TcpStream::connect_timeout(&target, Duration::from_secs(10)))
    };
    let client = client::up(&lab, &arguments);
    let refused = connect().expect_err("it is rejected");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(ask(&lab, ELSEWHERE[0], &["www.example", "A"]).contains(SERVERS[0]));
    drop(client);
    let _client = client::up(&lab, &[&arguments[..], &["--allow-dns-over-tls"]].concat());
    assert!(connect().is_ok());
}

/// Thousands of names, again and again, over both carriers; memory does not follow their number.
#[test]
fn a_flood_of_names_is_answered_and_memory_stays_bounded() {
    const NAMES: usize = 20_000;
    if !need::met(&[NAMED, Need::Program("dnsperf")]) {
        return;
    }
    let world = World::new(&["--dns-server", DOH]);
    let names = |range: std::ops::Range<usize>| {
        range.map(|n| format!("n{n}.many.example A\n")).collect::<Vec<_>>().concat()
    };
    perform(&world.lab, &names(0..1_000), &[]);
    let before = memory(&world.client);
    perform(&world.lab, &names(0..NAMES), &[]);
    perform(&world.lab, &names(0..1_000), &["-m", "tcp", "-n", "5"]);
    let grown = memory(&world.client).saturating_sub(before);
    assert!(grown < 16 << 20, "{NAMES} names took {grown} bytes");
}

/// Asks for names with dnsperf, no more at once than wait while a flow is being opened; every question
/// must be answered, and with success.
fn perform(lab: &Lab, names: &str, arguments: &[&str]) {
    let file = lab.file("names");
    std::fs::write(&file, names).expect("write the names");
    let mut dnsperf = lab.client.command("dnsperf");
    dnsperf.args(["-s", ELSEWHERE[0], "-q", "8", "-d"]).arg(&file).args(arguments);
    if !arguments.contains(&"-n") {
        dnsperf.args(["-n", "1"]);
    }
    let output = dnsperf.output().expect("run dnsperf");
    let said = String::from_utf8_lossy(&output.stdout);
    let figure = |name: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {said}")).trim().to_owned()
    };
    assert!(figure("Queries lost:").starts_with("0 "), "{said}");
    assert!(
        figure("Response codes:").starts_with("NOERROR") && !said.contains("SERVFAIL"),
        "{said}"
    );
}

/// The resident memory of a program, in bytes.
fn memory(program: &Process) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid()));
    let status = status.expect("a running program");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kibibytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes << 10
}

/// A browser with all of its own ideas about names.
#[test]
fn chromium_loads_a_page_of_several_names() {
    const CHROMIUM: &str = "chromium";
    if !need::met(&[NAMED]) || !need::is_there(CHROMIUM) {
        return;
    }
    for arguments in [&["--dns-server", DOH][..], &["--dns", "fake"]] {
        let world = World::new(arguments);
        world.lab.serve_web();
        let mut chromium = world.lab.client.command(CHROMIUM);
        chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]);
        chromium.args(["--no-first-run", "--disable-background-networking", "--disable-sync"]);
        chromium.args(["--disable-component-update", "--disable-dev-shm-usage"]);
        chromium.arg(format!("--user-data-dir={}", world.lab.file("profile").display()));
        chromium.args(["--dump-dom", "http://www.example/page"]);
        let output = chromium.output().expect("run chromium");
        let page = String::from_utf8_lossy(&output.stdout);
        for name in ["one", "two", "three", "alias"] {
            assert!(page.contains(&format!("<p>{name}</p>")), "{arguments:?}: {page}");
        }
    }
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
    let world = World::new(&[arguments, &["-vv"]].concat());
    world.lab.serve_web();
    let mut curl = world.lab.client.command("curl");
    curl.args(["--silent", "--show-error", "--fail", "--parallel", "--max-time", "30"]);
    for name in ["www", "one", "two", "three", "alias"] {
        curl.args(["--output", "-"]).arg(format!("http://{name}.example/bytes/1000"));
    }
    let output = curl.output().expect("run curl");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaint}", output.status);
    assert_eq!(output.stdout.len(), 5_000, "{complaint}");
    world.client.wait_line("opening address=");
}
