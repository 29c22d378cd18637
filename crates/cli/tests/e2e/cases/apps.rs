//! Other apps: iperf3, dig, and a client that half-closes.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use crate::support::lab::{Lab, SERVERS};
use crate::support::need::{self, Need};
use crate::support::process::Process;
use crate::support::proxy::Kind;
use crate::support::{client, pattern, proxy};
use crate::targets::udp::ANSWER;

const IPERF: Need = Need::Program("iperf3");

#[test]
fn iperf_through_our_proxy() {
    if need::met(&[IPERF]) {
        iperf(Kind::Ours);
    }
}

#[test]
fn iperf_through_envoy() {
    if need::met(&[IPERF, Need::Envoy]) {
        iperf(Kind::Envoy);
    }
}

#[test]
fn dig_through_our_proxy() {
    if need::met(&[Need::Program("dig")]) {
        dig(Kind::Ours);
    }
}

#[test]
fn dig_through_envoy() {
    if need::met(&[Need::Program("dig"), Need::Envoy]) {
        dig(Kind::Envoy);
    }
}

#[test]
fn d28_datagrams_come_back_whole_through_our_proxy() {
    if need::met(&[]) {
        echoes(Kind::Ours);
    }
}

#[test]
fn d28_datagrams_come_back_whole_through_envoy() {
    if need::met(&[Need::Envoy]) {
        echoes(Kind::Envoy);
    }
}

#[test]
fn d04_answer_after_fin_through_our_proxy() {
    if need::met(&[]) {
        half_close(Kind::Ours);
    }
}

#[test]
fn d04_answer_after_fin_through_envoy() {
    if need::met(&[Need::Envoy]) {
        half_close(Kind::Envoy);
    }
}

/// Both ways, with one stream and with eight; iperf3 itself fails when a stream breaks.
fn iperf(kind: Kind) {
    let lab = Lab::new();
    let mut server = lab.server.command("iperf3");
    server.args(["--server", "--forceflush"]);
    let server = Process::start("iperf3", server);
    let _proxy = proxy::start(&lab, kind);
    let _client = client::up(&lab, &[]);
    let runs = [&[][..], &["--reverse"], &["--parallel", "8"], &["--parallel", "8", "--reverse"]];
    for (number, arguments) in (1..).zip(runs) {
        // Until it has done with the run before, it refuses another.
        server.wait_line(&format!("(test #{number})"));
        let mut iperf = lab.client.command("iperf3");
        iperf.args(["--client", SERVERS[0], "--time", "2", "--json"]).args(arguments);
        let report: serde_json::Value = serde_json::from_str(&output(&mut iperf)).expect("JSON");
        let bytes = report["end"]["sum_received"]["bytes"].as_u64();
        let bytes = bytes.unwrap_or_else(|| panic!("no count of bytes: {report:#}"));
        assert!(bytes > 1_000_000, "iperf3 {arguments:?} carried {bytes} bytes");
    }
}

/// Datagrams both ways, as few as any machine can carry.
#[test]
fn iperf_with_datagrams_through_our_proxy() {
    if !need::met(&[IPERF]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &[]);
    for (host, arguments) in SERVERS.iter().zip([&[][..], &["--reverse"]]) {
        let mut server = lab.server.command("iperf3");
        server.args(["--server", "--forceflush"]);
        let server = Process::start("iperf3", server);
        server.wait_line("Server listening");
        let mut iperf = lab.client.command("iperf3");
        iperf.args(["--client", host, "--udp", "--bitrate", "2M", "--length", "1200"]);
        iperf.args(["--time", "1", "--json"]).args(arguments);
        let report: serde_json::Value = serde_json::from_str(&output(&mut iperf)).expect("JSON");
        let count = |name: &str| report["end"]["sum"][name].as_u64().expect("a count");
        let (sent, lost) = (count("packets"), count("lost_packets"));
        assert!(sent > 50 && lost < sent / 2, "iperf3 {arguments:?}: {lost} of {sent} lost");
    }
}

fn dig(kind: Kind) {
    let lab = Lab::new();
    lab.serve_datagrams();
    let _proxy = proxy::start(&lab, kind);
    let _client = client::up(&lab, &["--dns", "pass"]);
    for server in SERVERS {
        let mut dig = lab.client.command("dig");
        dig.arg(format!("@{server}"));
        dig.args(["+short", "+noedns", "+tries=1", "+time=5", "www.example", "A"]);
        assert_eq!(output(&mut dig).trim(), IpAddr::from(ANSWER).to_string(), "{server}");
    }
}

/// One datagram of every hundredth size and the largest that the MTU of 1,500 takes, in turn, so that
/// none can be lost in a queue.
fn echoes(kind: Kind) {
    let lab = Lab::new();
    lab.serve_datagrams();
    let _proxy = proxy::start(&lab, kind);
    let _client = client::up(&lab, &[]);
    let bytes = pattern::bytes(1_500);
    for server in SERVERS {
        let address = SocketAddr::new(server.parse().expect("an address"), 7);
        let socket = lab.client.run(|| connected_udp(address));
        let largest = if address.is_ipv6() { 1_452 } else { 1_472 };
        for length in (1..=1400).step_by(100).chain([largest]) {
            socket.send(&bytes[..length]).expect("send");
            let mut buffer = [0; 8_192];
            let received = socket.recv(&mut buffer);
            let received = received.unwrap_or_else(|error| panic!("{length} bytes: {error}"));
            assert_eq!(&buffer[..received], &bytes[..length], "{length} bytes to {server}");
        }
    }
}

fn connected_udp(address: SocketAddr) -> UdpSocket {
    let any = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(any).expect("bind");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
    socket.connect(address).expect("connect");
    socket
}

fn half_close(kind: Kind) {
    let lab = Lab::new();
    lab.serve_half_close();
    let _proxy = proxy::start(&lab, kind);
    let _client = client::up(&lab, &[]);
    for server in SERVERS {
        let address = SocketAddr::new(server.parse().expect("an address"), 9);
        let mut stream = lab.client.run(|| TcpStream::connect(address)).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        stream.write_all(&pattern::bytes(20_000)).expect("write");
        stream.shutdown(Shutdown::Write).expect("half-close");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer after our FIN");
        assert_eq!(answer, "20000 bytes\n", "{server}");
    }
}

/// What a program prints; panics if it fails.
fn output(command: &mut Command) -> String {
    let output = command.output().expect("run the program");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}: {text}", output.status);
    text
}
