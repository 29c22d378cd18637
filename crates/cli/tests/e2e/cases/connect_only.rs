//! Through proxies that know CONNECT and nothing else: TCP works, UDP is refused and harms nothing.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use nix::errno::Errno;

use crate::support::lab::{Lab, SERVERS};
use crate::support::need::{self, Need};
use crate::support::pattern::{self, Sum};
use crate::support::proxy::{self, Kind};
use crate::support::{client, curl};

const CURL: Need = Need::Program("curl");

/// Enough for many windows of 64 KiB.
const LENGTH: usize = 10_000_000;

#[test]
fn tcp_through_nghttpx_and_squid() {
    if need::met(&[CURL, Need::Program("nghttpx"), Need::Program("squid")]) {
        let lab = Lab::new();
        let _squid = proxy::squid(&lab);
        tcp_only(&lab, Kind::Nghttpx);
    }
}

#[test]
fn tcp_through_apache() {
    if need::met(&[CURL, Need::Program("apache2")]) {
        tcp_only(&Lab::new(), Kind::Apache);
    }
}

fn tcp_only(lab: &Lab, kind: Kind) {
    lab.serve_web();
    let _proxy = proxy::start(lab, kind);
    let _client = client::up(lab, &[]);
    for server in SERVERS {
        refuses(lab, SocketAddr::new(server.parse().expect("an address"), 11));
        loses_datagrams(lab, SocketAddr::new(server.parse().expect("an address"), 7));
    }
    let (expected, file) = (sum(), lab.file("upload"));
    std::fs::write(&file, pattern::bytes(LENGTH)).expect("write a file");
    let url = format!("http://{}/bytes/{LENGTH}", SERVERS[0]);
    assert_eq!(curl::download(lab, &url, &[]), (LENGTH, expected));
    let url = format!("http://{}/sum", SERVERS[0]);
    assert_eq!(curl::upload(lab, &url, &file, &[]), pattern::hex(&expected));
}

/// A bare 503 is told as a refusal.
fn refuses(lab: &Lab, address: SocketAddr) {
    let error = lab.client.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(20)));
    let error = error.expect_err("a closed port").raw_os_error().map(Errno::from_raw);
    assert_eq!(error, Some(Errno::ECONNREFUSED), "{address}");
}

/// Nothing comes back; an error may, or silence does.
fn loses_datagrams(lab: &Lab, address: SocketAddr) {
    let any = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let socket = lab.client.run(|| {
        let socket = UdpSocket::bind(any).expect("bind");
        socket.connect(address).map(|()| socket)
    });
    let socket = socket.expect("connect");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a limit");
    socket.send(b"ping").expect("send");
    assert!(socket.recv(&mut [0; 16]).is_err(), "an answer from {address}");
}

fn sum() -> Sum {
    pattern::read_sum(&pattern::bytes(LENGTH)[..]).expect("from memory").1
}
