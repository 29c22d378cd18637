use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::output;
use crate::support::lab::{Lab, SERVERS};
use crate::support::need::{self, Need};
use crate::support::proxy::{self, Kind};
use crate::support::{client, pattern};

/// A script that sends fragments of its own making and prints the echo's length for each case.
const SCAPY: &str = include_str!("fragments.py");

/// The kernel cuts what its app sends, and joins what we have cut.
#[test]
fn d28_datagrams_larger_than_the_mtu_come_back_whole() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_datagrams();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &[]);
    let bytes = pattern::bytes(65_000);
    for server in SERVERS {
        let address = SocketAddr::new(server.parse().expect("an address"), 7);
        let socket = lab.client.run(|| {
            let any = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
            UdpSocket::bind(any).expect("bind")
        });
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        for length in [1_473, 3_000, 20_000, 60_000] {
            socket.send_to(&bytes[..length], address).expect("send");
            let mut buffer = vec![0; 1 << 16];
            let received = socket.recv(&mut buffer);
            let received = received.unwrap_or_else(|error| panic!("{length} bytes: {error}"));
            assert_eq!(&buffer[..received], &bytes[..length], "{length} bytes to {server}");
        }
        // The proxy sends those of one size in one system call, where the path carries them uncut.
        for length in [1_200, 3_000, 1_200] {
            in_a_burst(&socket, address, &bytes[..length]);
        }
    }
}

fn in_a_burst(socket: &UdpSocket, address: SocketAddr, datagram: &[u8]) {
    const BURST: usize = 20;
    for _ in 0..BURST {
        socket.send_to(datagram, address).expect("send");
    }
    let mut buffer = vec![0; 1 << 16];
    for number in 0..BURST {
        let received = socket.recv(&mut buffer);
        let received = received.unwrap_or_else(|error| panic!("number {number}: {error}"));
        assert!(&buffer[..received] == datagram, "number {number} of {}", datagram.len());
    }
}

/// Of two replies the one that fits is the first to come.
#[test]
fn d28_replies_larger_than_the_mtu_are_dropped_whole_on_request() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_datagrams();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &["--udp-too-big", "drop"]);
    let bytes = pattern::bytes(3_000);
    let socket = lab.client.run(|| UdpSocket::bind("0.0.0.0:0")).expect("bind");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    for length in [3_000, 1_473, 1_472] {
        socket.send_to(&bytes[..length], (SERVERS[0], 7)).expect("send");
    }
    let received = socket.recv(&mut [0; 4_096]).expect("the reply that fits");
    assert_eq!(received, 1_472);
}

/// What no kernel sends: out of order, doubled, and overlapping.
#[test]
fn fragments_in_any_order_are_joined_and_overlapping_ones_are_not() {
    if !need::met(&[Need::Program("scapy")]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_datagrams();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &[]);
    // Debian's own Python, which has Debian's scapy.
    let mut scapy = lab.client.command("/usr/bin/python3");
    scapy.args(["-c", SCAPY, client::DEVICE]).args(SERVERS);
    let (text, content) = output(&mut scapy);
    let expected = "reversed 2000 2000\ndoubled 2000 2000\noverlapping none none\natomic - 1000\n";
    assert!(content, "{text}");
    assert_eq!(text, expected);
}
