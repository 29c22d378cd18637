//! Several shards, which are threads with a queue of the device each, carry what one carries.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::client::{self, DEVICE};
use crate::support::lab::{Lab, SERVERS};
use crate::support::need::{self, Need};
use crate::support::process::Process;
use crate::support::proxy::{self, Kind};

/// More than a machine of the tests has cores.
const SHARDS: [&str; 2] = ["--shards", "3"];

/// How long what comes may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// So many flows that each shard has some.
const FLOWS: usize = 40;

fn server(number: usize, port: u16) -> SocketAddr {
    SocketAddr::new(SERVERS[number % SERVERS.len()].parse().expect("an address"), port)
}

/// A lab whose servers echo, a proxy, and a client with shards.
fn shards_and_echo() -> (Lab, Process, Process) {
    let lab = Lab::new();
    lab.serve_echo();
    let proxy = proxy::start(&lab, Kind::Ours);
    let client = client::up(&lab, &SHARDS);
    (lab, proxy, client)
}

fn connect(lab: &Lab, server: SocketAddr) -> TcpStream {
    let stream = lab.client.run(|| TcpStream::connect(server)).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

fn echoes(stream: &mut TcpStream) {
    stream.write_all(b"anybody there?").expect("send");
    let mut echo = [0; 14];
    stream.read_exact(&mut echo).expect("an echo");
    assert_eq!(&echo, b"anybody there?");
}

/// What the counters say of the group, as they are shown from now on.
fn counters(client: &Process, group: &str, text: &str) -> String {
    client.signal(Signal::SIGUSR1);
    let line = client.wait_line(text);
    assert!(line.starts_with(group), "{line}");
    line
}

#[test]
fn flows_of_all_shards_are_counted_and_judged() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_echo();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let rules = lab.file("rules.toml");
    std::fs::write(&rules, "").expect("write the rules");
    let policy = ["--policy", rules.to_str().expect("UTF-8")];
    let client = client::up(&lab, &[SHARDS, policy].concat());
    let mut flows: Vec<_> = (0..FLOWS).map(|number| connect(&lab, server(number, 7))).collect();
    flows.iter_mut().for_each(echoes);
    counters(&client, "tcp", &format!(" {FLOWS} flows now, {FLOWS} opened"));
    counters(&client, "proxy", " 3 connections opened");

    std::fs::write(&rules, "[[rule]]\nport = 7\nverdict = 'reject'").expect("write the rules");
    client.signal(Signal::SIGHUP);
    client.wait_line(&format!("policy replaced, {FLOWS} flows ended"));
    for flow in &mut flows {
        let reset = flow.read(&mut [0; 8]).expect_err("a reset");
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    }
}

/// Fragments come out of another queue than whole datagrams of their flow; the server must see one
/// sender for both all the same.
#[test]
fn a_datagram_in_fragments_is_of_the_same_flow_as_a_whole_one() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &SHARDS);
    let target = lab.server.bind(9);
    target.set_nonblocking(false).expect("a blocking socket");
    target.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    for number in 0..FLOWS {
        let server = server(number, 9);
        let app = lab
            .client
            .run(|| UdpSocket::bind(if server.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" }));
        let app = app.expect("a socket");
        app.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut seen = Vec::new();
        for length in [100, 4_000, 200, 9_000] {
            app.send_to(&vec![7; length], server).expect("send");
            let mut heard = [0; 10_000];
            let (octets, sender) = target.recv_from(&mut heard).expect("the datagram");
            assert_eq!(octets, length);
            seen.push(sender);
            target.send_to(&heard[..octets], sender).expect("send back");
            assert_eq!(app.recv_from(&mut heard).expect("the echo"), (length, server));
        }
        seen.dedup();
        assert_eq!(seen.len(), 1, "{seen:?}");
    }
}

/// How many packets have changed hands.
fn handed_over(client: &Process) -> usize {
    let line = counters(client, "shards", " packets handed over, 0 lost in between");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

/// The kernel is told which thread shall read a flow.
#[test]
fn only_the_first_packet_of_a_flow_may_change_hands() {
    if !need::met(&[Need::Ebpf]) {
        return;
    }
    let (lab, _proxy, client) = shards_and_echo();
    let mut flows: Vec<_> = (0..FLOWS).map(|number| connect(&lab, server(number, 7))).collect();
    for _ in 0..10 {
        flows.iter_mut().for_each(echoes);
    }
    let packets = handed_over(&client);
    // Two thirds of the flows belong to others than the first shard.
    assert!((FLOWS / 2..=FLOWS).contains(&packets), "{packets}");
}

#[test]
fn the_first_shard_does_all_where_there_is_one_flow_at_a_time() {
    if !need::met(&[Need::Ebpf]) {
        return;
    }
    let (lab, _proxy, client) = shards_and_echo();
    for number in 0..FLOWS {
        let mut flow = connect(&lab, server(number, 7));
        echoes(&mut flow);
        flow.shutdown(Shutdown::Write).expect("shut down");
        assert_eq!(flow.read(&mut [0; 8]).expect("the end"), 0);
    }
    assert_eq!(handed_over(&client), 0);
}

#[test]
fn every_shard_finds_the_proxy_again() {
    if !need::met(&[]) {
        return;
    }
    let (lab, proxy, client) = shards_and_echo();
    let mut flows: Vec<_> = (0..FLOWS).map(|number| connect(&lab, server(number, 7))).collect();
    flows.iter_mut().for_each(echoes);
    drop(proxy);
    for flow in &mut flows {
        assert_eq!(flow.read(&mut [0; 8]).expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    }
    let _proxy = proxy::start(&lab, Kind::Ours);
    let mut flows: Vec<_> = (0..FLOWS).map(|number| connect(&lab, server(number, 7))).collect();
    flows.iter_mut().for_each(echoes);
    let line = counters(&client, "proxy", " connections opened");
    let opened = line.split_whitespace().nth(1).and_then(|number| number.parse().ok());
    assert!(opened >= Some(6), "each shard has one before and one after: {line}");
}

#[test]
fn a_device_that_is_deleted_ends_the_program() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let mut client = client::up(&lab, &SHARDS);
    lab.client.ip(&format!("link delete {DEVICE}"));
    assert!(!client.wait(PATIENCE).success());
    assert!(client.lines().iter().any(|line| line.contains("the device is gone")));
}
