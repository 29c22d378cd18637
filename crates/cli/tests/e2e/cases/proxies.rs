//! More than one proxy, and proxies that come and go under load.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::client;
use crate::support::clock::{self, timed};
use crate::support::lab::{Lab, SERVERS};
use crate::support::need;
use crate::support::proxy::{self, Kind};

/// The port of a second proxy.
const SECOND: u16 = 8444;

/// Flows that are open while something happens to the proxy.
const FLOWS: usize = 50;

/// The target that sends back what it got, once the app has ended.
const ECHO_AT_END: u16 = 9;

/// The target that sends datagrams back.
const ECHO: u16 = 7;

/// TCP and UDP through our proxy, which is reached through Envoy.
#[test]
fn two_hops_carry_traffic() {
    if !need::met(&[need::Need::Envoy]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_half_close();
    lab.serve_datagrams();
    let _nearest = proxy::start(&lab, Kind::Envoy);
    let _farthest = proxy::ours_at(&lab, SECOND, &[]);
    let hops = [proxy::url(), proxy::url_at(SECOND)];
    let client = client::start_through(&lab, &[&hops[0], &hops[1]], &[]);
    client.wait_line("ready");
    let mut flows: Vec<_> = (0..10).map(|_| connect(&lab)).collect();
    flows.iter_mut().for_each(answers);
    echoes(&lab);
}

/// While the first of two proxies is away, new flows take the second at once.
#[test]
fn the_second_proxy_serves_while_the_first_is_away() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_half_close();
    let first = proxy::ours_at(&lab, proxy::PORT, &[]);
    let _second = proxy::ours_at(&lab, SECOND, &[]);
    let list = format!("{},{}", proxy::url(), proxy::url_at(SECOND));
    let client = client::start_through(&lab, &[&list], &[]);
    client.wait_line("ready");
    answers(&mut connect(&lab));
    drop(first);
    let (mut flow, took) = timed(|| connect(&lab));
    assert!(took < Duration::from_secs(5), "{took:?}");
    answers(&mut flow);
}

/// Open flows hear the truth when the proxy stands still, and traffic flows again when it goes on.
#[test]
fn a_proxy_that_stands_still_is_noticed_and_used_again() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_half_close();
    let proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &[]);
    let mut flows: Vec<_> = (0..FLOWS).map(|_| connect(&lab)).collect();
    proxy.signal(Signal::SIGSTOP);
    let ((), took) = timed(|| flows.iter_mut().for_each(is_reset));
    assert!(took < Duration::from_secs(20), "{took:?}");
    proxy.signal(Signal::SIGCONT);
    answers(&mut connect(&lab));
}

fn connect(lab: &Lab) -> TcpStream {
    let address = SocketAddr::new(SERVERS[0].parse().expect("an address"), ECHO_AT_END);
    let limit = clock::now() + Duration::from_secs(20);
    loop {
        match lab.client.run(|| TcpStream::connect(address)) {
            Ok(stream) => {
                stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
                return stream;
            }
            Err(error) => assert!(clock::now() < limit, "connect: {error}"),
        }
    }
}

/// A datagram goes and comes back.
fn echoes(lab: &Lab) {
    let address = SocketAddr::new(SERVERS[0].parse().expect("an address"), ECHO);
    let socket = lab.client.run(|| UdpSocket::bind("0.0.0.0:0")).expect("bind");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    socket.connect(address).expect("connect");
    socket.send(b"question").expect("send");
    let mut answer = [0; 100];
    let length = socket.recv(&mut answer).expect("a datagram comes back");
    assert_eq!(&answer[..length], b"question");
}

fn answers(flow: &mut TcpStream) {
    flow.write_all(b"question").expect("send");
    flow.shutdown(std::net::Shutdown::Write).expect("end");
    let mut answer = Vec::new();
    flow.read_to_end(&mut answer).expect("read");
    assert!(!answer.is_empty(), "no answer");
}

fn is_reset(flow: &mut TcpStream) {
    let end = flow.read(&mut [0; 1]).expect_err("an end");
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
}
