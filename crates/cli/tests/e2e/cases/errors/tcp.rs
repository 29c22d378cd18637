use std::net::TcpStream;

use nix::errno::Errno;

use super::{CAUSES, DENIED, NO_ROUTE, REFUSED, UNREACHABLE, address, port_of, scripted};
use crate::support::client;
use crate::support::failure::fails;
use crate::support::lab::{ELSEWHERE, Lab, PRIVATE, SERVERS};
use crate::support::need::{self, Need};
use crate::support::proxy::{self, Kind};

/// A closed port of the server.
const CLOSED: u16 = 11;

#[test]
fn d09_every_cause_has_its_errno() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    let _client = scripted(&lab);
    for (index, cause) in CAUSES.iter().enumerate() {
        for (server, expected) in SERVERS.iter().zip(cause.tcp) {
            fails(&lab, address(server, port_of(index)), expected, cause.name);
        }
    }
}

#[test]
fn refused_port_through_our_proxy() {
    if need::met(&[]) {
        refused(Kind::Ours);
    }
}

#[test]
fn refused_port_through_envoy() {
    if need::met(&[Need::Envoy]) {
        refused(Kind::Envoy);
    }
}

fn refused(kind: Kind) {
    let lab = Lab::new();
    let _proxy = proxy::start(&lab, kind);
    let _client = client::up(&lab, &[]);
    for (server, expected) in SERVERS.iter().zip(REFUSED) {
        fails(&lab, address(server, CLOSED), expected, "refused");
    }
}

#[test]
fn unreachable_host_through_our_proxy() {
    if need::met(&[]) {
        unreachable(Kind::Ours, UNREACHABLE);
    }
}

/// Envoy answers refused and unreachable alike with a bare 503.
#[test]
fn unreachable_host_through_envoy() {
    if need::met(&[Need::Envoy]) {
        unreachable(Kind::Envoy, REFUSED);
    }
}

fn unreachable(kind: Kind, expected: [Errno; 2]) {
    let lab = Lab::new();
    lab.cut_off();
    let _proxy = proxy::start(&lab, kind);
    let _client = client::up(&lab, &[]);
    for (host, expected) in ELSEWHERE.iter().zip(expected) {
        fails(&lab, address(host, 80), expected, "unreachable");
    }
}

#[test]
fn no_route_through_our_proxy() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &[]);
    for (host, expected) in ELSEWHERE.iter().zip(NO_ROUTE) {
        fails(&lab, address(host, 80), expected, "no route");
    }
}

/// Our proxy opens no way to private networks unless it is told so.
#[test]
fn private_host_through_our_proxy() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &[]);
    for (host, expected) in PRIVATE.iter().zip(DENIED) {
        fails(&lab, address(host, 80), expected, "denied");
    }
}

#[test]
fn missing_credentials() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_web();
    let _proxy = proxy::ours(&lab, &["--basic", "user:right"]);
    let _client = client::up(&lab, &["--basic", "user:wrong"]);
    for (server, expected) in SERVERS.iter().zip(DENIED) {
        fails(&lab, address(server, 80), expected, "unauthenticated");
    }
}

#[test]
fn right_credentials() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_web();
    let _proxy = proxy::ours(&lab, &["--basic", "user:right"]);
    let _client = client::up(&lab, &["--basic", "user:right"]);
    let outcome = lab.client.run(|| TcpStream::connect(address(SERVERS[0], 80)));
    assert!(outcome.is_ok(), "{outcome:?}");
}
