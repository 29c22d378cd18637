//! connect-udp: datagrams whole or not at all, and what ends a tunnel.

mod common;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::{Proxy, Tunnel, closed_port, config, pattern, soon, until};
use h2::Reason;
use pseudotcp_masque::datagram::{Decoder, encode};
use tokio::net::UdpSocket;

/// A connect-udp tunnel that speaks datagrams.
struct Datagrams {
    tunnel: Tunnel,
    decoder: Decoder,
    chunk: Bytes,
}

impl Datagrams {
    async fn open(proxy: &Proxy, host: &str, port: u16) -> Self {
        let answer = proxy.client().await.connect_udp(host, port).await;
        assert_eq!(answer.head.headers()["capsule-protocol"], "?1");
        Self { tunnel: answer.open(), decoder: Decoder::new(), chunk: Bytes::new() }
    }

    async fn send(&mut self, payload: &[u8]) {
        soon(self.tunnel.write(capsule(payload))).await.unwrap();
    }

    async fn receive(&mut self) -> Bytes {
        loop {
            if let Some(payload) = self.decoder.decode(&mut self.chunk).unwrap() {
                return payload;
            }
            self.chunk = soon(self.tunnel.read()).await.expect("more to come").unwrap();
        }
    }
}

fn capsule(payload: &[u8]) -> Bytes {
    let mut wire = BytesMut::new();
    encode(payload, &mut wire);
    wire.freeze()
}

#[tokio::test]
async fn the_old_draft_is_a_method_without_context_ids() {
    let proxy = Proxy::start(config()).await;
    let port = echo("127.0.0.1:0").await;
    let mut client = proxy.client().await;
    for scheme in ["masque", "https"] {
        let method = http::Method::from_bytes(b"CONNECT-UDP").unwrap();
        let uri = format!("{scheme}://127.0.0.1:{port}/");
        let request = http::Request::builder().method(method).uri(uri).body(()).unwrap();
        let answer = client.request(request).await;
        assert!(!answer.head.headers().contains_key("capsule-protocol"));
        let mut tunnel = answer.open();
        tunnel.write_static(b"\x00\x03old").await;
        assert_eq!(tunnel.read_exact(5).await, b"\x00\x03old");
    }
}

/// A target that sends back what it hears.
async fn echo(address: &str) -> u16 {
    let socket = UdpSocket::bind(address).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            socket.send_to(&buffer[..length], peer).await.unwrap();
        }
    });
    port
}

#[tokio::test]
async fn datagrams_of_every_size_come_back_whole() {
    let proxy = Proxy::start(config()).await;
    let port = echo("127.0.0.1:0").await;
    let mut datagrams = Datagrams::open(&proxy, "127.0.0.1", port).await;
    for size in [0, 1, 62, 63, 64, 1_200, 1_472, 1_500, 9_000, 16_374, 16_383, 16_384, 65_507] {
        let payload = pattern(size);
        datagrams.send(&payload).await;
        assert!(datagrams.receive().await == payload, "{size} bytes");
    }
}

#[tokio::test]
async fn addresses_and_names_are_reached() {
    let proxy = Proxy::start(config()).await;
    let (v4, v6) = (echo("127.0.0.1:0").await, echo("[::1]:0").await);
    for (host, port) in [("127.0.0.1", v4), ("%3A%3A1", v6)] {
        let mut datagrams = Datagrams::open(&proxy, host, port).await;
        datagrams.send(b"hello").await;
        assert_eq!(datagrams.receive().await, "hello", "{host}");
    }
    let mut named = Datagrams::open(&proxy, "localhost", v4).await;
    named.send(b"hello").await;
}

#[tokio::test]
async fn d40_capsules_are_cut_and_merged_at_will() {
    let proxy = Proxy::start(config()).await;
    let mut datagrams = Datagrams::open(&proxy, "127.0.0.1", echo("127.0.0.1:0").await).await;
    // Type 0x29 is unknown, and so is context 2: both are passed over.
    let mut wire = b"\x29\x06grease\x00\x05\x02ctx2".to_vec();
    for i in 0..20_u8 {
        wire.extend(capsule(&[i; 5]));
    }
    soon(datagrams.tunnel.write(wire.clone().into())).await.unwrap();
    for i in 0..20 {
        assert_eq!(datagrams.receive().await, vec![i; 5]);
    }
    for byte in wire.chunks(1) {
        soon(datagrams.tunnel.write(Bytes::copy_from_slice(byte))).await.unwrap();
    }
    for i in 0..20 {
        assert_eq!(datagrams.receive().await, vec![i; 5]);
    }
}

#[tokio::test]
async fn a_datagram_too_large_for_its_network_is_dropped_alone() {
    let proxy = Proxy::start(config()).await;
    let mut datagrams = Datagrams::open(&proxy, "127.0.0.1", echo("127.0.0.1:0").await).await;
    // RFC 9298 allows 65,527 bytes, IPv4 carries 65,507.
    datagrams.send(&pattern(65_508)).await;
    datagrams.send(b"next").await;
    assert_eq!(datagrams.receive().await, "next");
    until(|| proxy.stats.datagrams_dropped() == 1).await;
}

#[tokio::test]
async fn a_closed_port_is_a_connect_error() {
    let proxy = Proxy::start(config()).await;
    for host in ["127.0.0.1", "%3A%3A1"] {
        let port = closed_port().await.port();
        let mut datagrams = Datagrams::open(&proxy, host, port).await;
        // One datagram is enough: the ICMP error wakes the tunnel by itself.
        datagrams.send(b"anybody?").await;
        assert_eq!(datagrams.tunnel.reset_reason().await, Some(Reason::CONNECT_ERROR), "{host}");
    }
}

#[tokio::test]
async fn answers_come_after_the_clients_end() {
    let proxy = Proxy::start(config()).await;
    let target = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = target.local_addr().unwrap().port();
    let mut datagrams = Datagrams::open(&proxy, "127.0.0.1", port).await;
    datagrams.send(b"last question").await;
    datagrams.tunnel.finish();
    let mut buffer = [0; 64];
    let (length, peer) = soon(target.recv_from(&mut buffer)).await.unwrap();
    assert_eq!(&buffer[..length], b"last question");
    for answer in [b"one", b"two"] {
        target.send_to(answer, peer).await.unwrap();
        assert_eq!(&datagrams.receive().await[..], answer);
    }
    // Then the tunnel ends by itself.
    assert_eq!(soon(datagrams.tunnel.read_to_end()).await.unwrap(), b"");
}

#[tokio::test]
async fn a_malformed_capsule_resets_the_stream() {
    let proxy = Proxy::start(config()).await;
    let port = echo("127.0.0.1:0").await;
    let mut empty = Datagrams::open(&proxy, "127.0.0.1", port).await;
    // A datagram without a context id.
    empty.tunnel.write_static(b"\x00\x00").await;
    assert_eq!(empty.tunnel.reset_reason().await, Some(Reason::PROTOCOL_ERROR));
    let mut cut = Datagrams::open(&proxy, "127.0.0.1", port).await;
    cut.tunnel.write_static(b"\x00\x05\x00cut").await;
    cut.tunnel.finish();
    assert_eq!(cut.tunnel.reset_reason().await, Some(Reason::PROTOCOL_ERROR));
}

#[tokio::test]
async fn an_idle_tunnel_ends_plainly() {
    let idle = Duration::from_millis(50);
    let proxy = Proxy::start(config().udp_idle_timeout(idle)).await;
    let mut datagrams = Datagrams::open(&proxy, "127.0.0.1", echo("127.0.0.1:0").await).await;
    datagrams.send(b"once").await;
    assert_eq!(datagrams.receive().await, "once");
    assert_eq!(soon(datagrams.tunnel.read_to_end()).await.unwrap(), b"");
    until(|| proxy.stats.open_tunnels() == 0).await;
}

#[tokio::test]
async fn a_reset_or_lost_client_ends_the_tunnel() {
    let proxy = Proxy::start(config()).await;
    let port = echo("127.0.0.1:0").await;
    let mut datagrams = Datagrams::open(&proxy, "127.0.0.1", port).await;
    datagrams.tunnel.send.send_reset(Reason::CANCEL);
    until(|| proxy.stats.open_tunnels() == 0).await;
    let mut client = proxy.client().await;
    let _tunnel = client.connect_udp("127.0.0.1", port).await.open();
    client.driver.abort();
    until(|| proxy.stats.udp_tunnels() == 2 && proxy.stats.open_tunnels() == 0).await;
}

#[tokio::test]
async fn a_burst_of_all_sizes_arrives_whole_and_in_order() {
    let proxy = Proxy::start(config()).await;
    let port = echo("127.0.0.1:0").await;
    let mut tunnel = Datagrams::open(&proxy, "127.0.0.1", port).await;
    let mixed = [90, 90, 60, 60, 61, 0, 0, 1, 1];
    for sizes in [&[100; 70][..], &mixed, &[1_200; 60], &[30_000; 3]] {
        let sent: Vec<_> = sizes.iter().copied().map(pattern).collect();
        let burst: Vec<u8> = sent.iter().flat_map(|payload| capsule(payload)).collect();
        soon(tunnel.tunnel.write(Bytes::from(burst))).await.unwrap();
        for payload in sent {
            assert_eq!(tunnel.receive().await, payload);
        }
    }
    assert_eq!(proxy.stats.datagrams_dropped(), 0);
}
