//! What leaves the machine while the program is there.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::lab::{ELSEWHERE, Lab, PROXY, SERVERS};
use crate::support::need::{self, Need};
use crate::support::process::Process;
use crate::support::proxy::{self, Kind};
use crate::support::{client, named};

/// All packets of the outer link but those from and to the proxy, and those by which the kernel finds
/// its neighbours.
struct Capture(Process);

impl Capture {
    fn start(lab: &Lab) -> Self {
        let mut tcpdump = lab.client.command("tcpdump");
        let strangers = format!(
            "not host {PROXY} and not arp and not src net fe80::/10 and not dst net fe80::/10 \
             and not src host :: and not icmp6"
        );
        tcpdump.args(["-n", "-l", "--immediate-mode", "-i", "outside", &strangers]);
        let tcpdump = Process::start("tcpdump", tcpdump);
        tcpdump.wait_line("listening on");
        Self(tcpdump)
    }

    fn packets(&self) -> Vec<String> {
        self.0.lines().into_iter().filter(|line| line.contains(" IP")).collect()
    }
}

fn ask(lab: &Lab, server: &str, name: &str) -> String {
    let mut kdig = lab.client.command("kdig");
    let output = kdig.arg(format!("@{server}")).args(["+retry=0", "+time=6", name, "A"]).output();
    String::from_utf8_lossy(&output.expect("run kdig").stdout).into_owned()
}

/// Through start, load, the proxy's death and return, a crash and a clean end, with a default route
/// past the proxy that would carry everything. A question without the program shows that the
/// capture would have seen one.
#[test]
fn d37_nothing_leaves_but_to_the_proxy() {
    let programs = ["named", "kdig", "tcpdump", "curl"].map(Need::Program);
    if !need::met(&programs) {
        return;
    }
    let lab = Lab::new();
    lab.client.ip("route add default via 192.0.2.1");
    lab.client.ip("-6 route add default via 2001:db8:1::1");
    lab.client.resolve_by(ELSEWHERE[0]);
    lab.serve_web();
    let _named = named::start(&lab, named::FIRST);
    let capture = Capture::start(&lab);
    let ca = lab.certificate.chain.display().to_string();
    let server = "https://198.51.100.2:8440/dns-query";
    let arguments =
        ["--dns-ca", &ca, "--dns-server", server, "--route", "0.0.0.0/0", "--route", "::/0"];

    let proxy = proxy::start(&lab, Kind::Ours);
    let mut client = client::up(&lab, &arguments);
    for server in ELSEWHERE {
        assert!(ask(&lab, server, "www.example").contains(SERVERS[0]));
    }
    let mut curl = lab.client.command("curl");
    curl.args(["--silent", "--max-time", "20", "http://one.example/bytes/100000"]);
    assert_eq!(curl.output().expect("run curl").stdout.len(), 100_000);
    drop(proxy);
    assert!(ask(&lab, ELSEWHERE[0], "two.example").contains("SERVFAIL"));
    let _proxy = proxy::start(&lab, Kind::Ours);
    assert!(ask(&lab, ELSEWHERE[0], "three.example").contains("three.example"));
    client.signal(Signal::SIGKILL);
    client.wait(Duration::from_secs(5));
    let mut client = client::up(&lab, &arguments);
    assert!(ask(&lab, ELSEWHERE[1], "one.example").contains(SERVERS[0]));
    client.signal(Signal::SIGTERM);
    client.wait(Duration::from_secs(5));
    assert_eq!(capture.packets(), [""; 0], "what leaked");

    ask(&lab, "203.0.113.99", "leak.example");
    capture.0.wait_line("203.0.113.99.53");
}
