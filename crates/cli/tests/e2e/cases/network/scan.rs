use super::{CLOSED, output};
use crate::support::client;
use crate::support::lab::{ELSEWHERE, Lab, SERVERS};
use crate::support::need::{self, Need};
use crate::support::proxy::{self, Kind};

const NMAP: Need = Need::Program("nmap");

/// A port that has a socket, and nobody who answers.
const SILENT: u16 = 9;

/// Nothing looks open that is not.
#[test]
fn a_scan_of_tcp_ports_sees_what_is_there() {
    if !need::met(&[NMAP]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_web();
    lab.cut_off();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &[]);
    for server in SERVERS {
        let ports = scan(&lab, "-sS", &format!("80,{CLOSED}"), server);
        assert_eq!(ports, [format!("{CLOSED}/closed"), "80/open".into()], "{server}");
    }
    let ports = scan(&lab, "-sS", "80", ELSEWHERE[0]);
    assert_eq!(ports, ["80/filtered"], "{}", ELSEWHERE[0]);
}

#[test]
fn a_scan_of_udp_ports_sees_what_is_there() {
    if !need::met(&[NMAP]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_datagrams();
    let _silent = lab.server.bind(SILENT);
    let _proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &[]);
    for server in SERVERS {
        let ports = scan(&lab, "-sU", &format!("7,{SILENT},{CLOSED}"), server);
        let expected =
            ["7/open".into(), format!("{SILENT}/open|filtered"), format!("{CLOSED}/closed")];
        assert_eq!(ports, expected, "{server}");
    }
}

/// The ports in their order, each with what nmap makes of it.
fn scan(lab: &Lab, kind: &str, ports: &str, host: &str) -> Vec<String> {
    let mut nmap = lab.client.command("nmap");
    nmap.args([kind, "-n", "-Pn", "--send-ip", "--max-retries", "2", "-T4", "-oG", "-"]);
    nmap.args(["-p", ports]);
    if host.contains(':') {
        nmap.arg("-6");
    }
    let (text, content) = output(nmap.arg(host));
    let list = text.lines().find_map(|line| line.split("Ports: ").nth(1));
    let list = list.unwrap_or_else(|| panic!("nmap says: {text}"));
    assert!(content, "{text}");
    let list = list.split('\t').next().unwrap_or_default();
    list.split(", ").map(|port| port.split('/').take(2).collect::<Vec<_>>().join("/")).collect()
}
