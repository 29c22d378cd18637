use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use nix::errno::Errno;

use super::{CAUSES, UDP_DENIED, UDP_REFUSED, UDP_UNREACHABLE, address, port_of, scripted};
use crate::support::client;
use crate::support::failure::errno;
use crate::support::lab::{ELSEWHERE, Lab, PRIVATE, SERVERS};
use crate::support::need;
use crate::support::proxy::{self, Kind};

/// A closed port of the server.
const CLOSED: u16 = 11;

/// How long silence must last to count as silence.
const SILENCE: Duration = Duration::from_secs(1);

#[test]
fn every_cause_has_its_errno() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    let _client = scripted(&lab);
    for (index, cause) in CAUSES.iter().enumerate() {
        for (server, expected) in SERVERS.iter().zip(cause.udp) {
            hears(&lab, address(server, port_of(index)), expected, cause.name);
        }
    }
}

/// The target's own ICMP error, found out by the proxy only after the flow was open.
#[test]
fn closed_port_through_our_proxy() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &[]);
    for (server, expected) in SERVERS.iter().zip(UDP_REFUSED) {
        hears(&lab, address(server, CLOSED), expected, "refused");
    }
}

#[test]
fn unreachable_host_through_our_proxy() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.cut_off();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &[]);
    for (host, expected) in ELSEWHERE.iter().zip(UDP_UNREACHABLE) {
        hears(&lab, address(host, 7), expected, "unreachable");
    }
}

/// "Host unreachable" by its own name reaches no connected socket.
#[test]
fn unreachable_host_by_its_name() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.cut_off();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &["--udp-errors", "strict"]);
    hears(&lab, address(ELSEWHERE[0], 7), None, "unreachable");
}

#[test]
fn private_host_through_our_proxy() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &[]);
    for (host, expected) in PRIVATE.iter().zip(UDP_DENIED) {
        hears(&lab, address(host, 7), expected, "denied");
    }
}

/// Sends one datagram from a connected socket, and waits for an error or for silence.
fn hears(lab: &Lab, target: SocketAddr, expected: Option<Errno>, why: &str) {
    let error = lab.client.run(|| ask(target)).expect_err("nobody answers");
    let silent = error.kind() == io::ErrorKind::WouldBlock;
    let heard = (!silent).then(|| errno(&error));
    assert_eq!(heard, expected, "{why}: {target}");
}

fn ask(target: SocketAddr) -> io::Result<usize> {
    let any = if target.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(SILENCE))?;
    socket.send(b"anyone?")?;
    socket.recv(&mut [0; 64])
}
