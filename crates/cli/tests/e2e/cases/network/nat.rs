use super::output;
use crate::support::client;
use crate::support::lab::{Lab, SERVERS};
use crate::support::need::{self, Need};
use crate::support::process::Process;
use crate::support::proxy::{self, Kind};

/// The second addresses of the server, which it answers from when a client asks for that.
const OTHERS: [&str; 2] = ["198.51.100.3", "2001:db8:2::3"];

/// What docs/udp-and-icmp.md says of us, found out by STUN (RFC 5780 §4.3 and §4.4).
#[test]
fn stun_finds_a_nat_that_depends_on_address_and_port() {
    if !need::met(&[Need::Program("turnserver"), Need::Program("turnutils_natdiscovery")]) {
        return;
    }
    let lab = Lab::new();
    for (other, prefix) in OTHERS.iter().zip([24, 64]) {
        lab.server.ip(&format!("address add {other}/{prefix} dev proxy nodad"));
    }
    let _proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &[]);
    for (server, other) in SERVERS.iter().zip(OTHERS) {
        let _stun = stun(&lab, server, other);
        let mut discovery = lab.client.command("turnutils_natdiscovery");
        let (text, content) = output(discovery.args(["-m", "-f", server]));
        assert!(content, "{server}: {text}");
        for found in ["Address and Port Dependent Mapping", "Address and Port Dependent Filtering"]
        {
            assert!(text.contains(found), "{server} is to see {found}: {text}");
        }
    }
}

/// A STUN server with two addresses and two ports.
fn stun(lab: &Lab, address: &str, other: &str) -> Process {
    let mut command = lab.server.command("turnserver");
    command.args(["-n", "--stun-only", "--no-tcp", "--no-tls", "--no-dtls", "--no-cli"]);
    command.args(["-L", address, "-L", other, "--log-file", "stdout"]);
    command.arg("--pidfile").arg(lab.file("stun.pid"));
    command.arg("--userdb").arg(lab.file("stun.db"));
    let stun = Process::start("turnserver", command);
    stun.wait_line("Total General servers");
    stun
}
