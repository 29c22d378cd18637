use super::output;
use crate::support::lab::{ELSEWHERE, Lab, SERVERS};
use crate::support::need::{self, Need};
use crate::support::proxy::{self, Kind};
use crate::support::{client, process::Process};

const PING: Need = Need::Program("ping");

/// The server is there: it refuses the connection that asks so. A large ping comes in fragments.
#[test]
fn a_host_that_answers_is_pinged() {
    if !need::met(&[PING]) {
        return;
    }
    let (lab, _programs) = lab(&[]);
    for server in SERVERS {
        for size in ["56", "4000"] {
            let (text, content) = ping(&lab, server, &["-s", size]);
            assert!(content && text.contains(" 0% packet loss"), "{server}, {size} bytes: {text}");
        }
    }
}

#[test]
fn a_host_that_cannot_be_reached_is_not_there() {
    if !need::met(&[PING]) {
        return;
    }
    let (lab, _programs) = lab(&[]);
    lab.cut_off();
    let told = ["Destination Host Unreachable", "Destination unreachable"];
    for (host, told) in ELSEWHERE.iter().zip(told) {
        let (text, content) = ping(&lab, host, &[]);
        assert!(!content && text.contains(told), "{host}: {text}");
    }
}

#[test]
fn pings_can_be_answered_without_asking_or_refused() {
    if !need::met(&[PING]) {
        return;
    }
    for (mode, told) in [("reply", " 0% packet loss"), ("unreachable", "Packet filtered")] {
        let (lab, _programs) = lab(&["--icmp", mode]);
        lab.cut_off();
        let (text, _) = ping(&lab, ELSEWHERE[0], &[]);
        assert!(text.contains(told), "{mode}: {text}");
    }
}

/// To a trace the destination is the first hop, as nothing on the way looks at the hop limit.
#[test]
fn a_trace_ends_at_its_destination() {
    if !need::met(&[Need::Program("traceroute")]) {
        return;
    }
    let (lab, _programs) = lab(&[]);
    for server in SERVERS {
        let mut trace = lab.client.command("traceroute");
        trace.args(["-n", "-q", "1", "-m", "4", "-w", "5", server]);
        let (text, content) = output(&mut trace);
        let hops: Vec<&str> = text.lines().skip(1).collect();
        assert!(content && hops.len() == 1 && hops[0].contains(server), "{text}");
    }
}

fn lab(arguments: &[&str]) -> (Lab, [Process; 2]) {
    let lab = Lab::new();
    let programs = [proxy::start(&lab, Kind::Ours), client::up(&lab, arguments)];
    (lab, programs)
}

/// Two requests at most; one answer of any kind ends it.
fn ping(lab: &Lab, host: &str, arguments: &[&str]) -> (String, bool) {
    let mut ping = lab.client.command("ping");
    ping.args(["-n", "-c", "1", "-W", "6"]).args(arguments).arg(host);
    output(&mut ping)
}
