//! What Wireshark's TCP analysis thinks of us.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::lab::{Lab, SERVERS};
use crate::support::need::{self, Need};
use crate::support::proxy::Kind;
use crate::support::{client, pattern, proxy};

const TSHARK: Need = Need::Program("tshark");

/// The app's receive buffer, in which an answer fits whole: an app that reads late would close and
/// reopen its window, and the analysis remarks upon that.
const WIDE: &str = "4096 1000000 6000000";

/// What does not belong into a run that loses nothing; checksums are verified. Linux writes 0xffff for
/// a checksum of zero, which is right and which the analysis takes for an error.
const REMARKABLE: &str = "tcp.analysis.flags || _ws.malformed || ip.checksum.status == \"Bad\" \
    || (tcp.checksum.status == \"Bad\" && tcp.checksum != 0xffff)";

#[test]
fn one_flow_is_clean() {
    clean(1, 200_000);
}

#[test]
fn a_hundred_flows_are_clean() {
    clean(100, 20_000);
}

/// Of so many flows at once, each with an answer of `bytes` bytes, nothing is remarkable. A machine that
/// is too busy makes timers fire on either side, which is no fault: one of three runs must be clean.
fn clean(flows: usize, bytes: usize) {
    if !need::met(&[TSHARK]) {
        return;
    }
    let remarks: Vec<_> = (0..3).map_while(|_| remarks(flows, bytes)).collect();
    assert!(remarks.len() < 3, "{remarks:#?}");
}

/// What the analysis remarks upon a run, if anything.
fn remarks(flows: usize, bytes: usize) -> Option<Vec<String>> {
    let lab = Lab::new();
    lab.serve_web();
    lab.client.set("net/ipv4/tcp_rmem", WIDE);
    let _proxy = proxy::start(&lab, Kind::Ours);
    let capture = lab.file("capture.pcapng");
    let path = capture.to_str().expect("a readable name");
    let mut client = client::up(&lab, &["--no-offload", "--pcap", path]);
    thread::scope(|scope| {
        for number in 0..flows {
            let server = SERVERS[number % SERVERS.len()].parse().expect("an address");
            let lab = &lab;
            scope.spawn(move || fetch(lab, SocketAddr::new(server, 80), bytes));
        }
    });
    client.signal(Signal::SIGTERM);
    client.wait(Duration::from_secs(10));
    let opened = tshark(&capture, "tcp.flags.syn == 1 && tcp.flags.ack == 1").len();
    assert!(opened >= flows, "a SYN-ACK for every flow");
    Some(tshark(&capture, REMARKABLE)).filter(|remarks| !remarks.is_empty())
}

/// A request, its answer, and the end that the server gives it.
fn fetch(lab: &Lab, server: SocketAddr, bytes: usize) {
    let mut stream = lab.client.run(|| TcpStream::connect(server)).expect("connect");
    let request = format!("GET /until-close/{bytes} HTTP/1.1\r\nHost: server\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("ask");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the answer");
    assert!(answer.ends_with(&pattern::bytes(bytes)), "{} bytes came", answer.len());
}

/// The packets of a capture that a filter shows, a line for each.
fn tshark(capture: &Path, filter: &str) -> Vec<String> {
    let mut tshark = Command::new("tshark");
    tshark.args(["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]);
    let output = tshark.arg("-r").arg(capture).args(["-Y", filter]).output().expect("run tshark");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tshark: {complaint}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
