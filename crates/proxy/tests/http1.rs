//! The same tunnels over HTTP/1.1, and what is its own: heads, keep-alive, ends.

mod common;

use std::fmt::Display;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::{Http1, Proxy, closed_port, config, echo, listen, pattern, soon, until};
use pseudotcp_masque::datagram::{Decoder, Format};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

fn connect(target: impl Display) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
}

fn upgrade(token: &str, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: {token}\r\n\
         Capsule-Protocol: ?1\r\n\r\n"
    )
}

/// A tunnel to a target, and the target's end of it.
async fn pair(proxy: &Proxy) -> (Http1, TcpStream) {
    let (listener, address) = listen().await;
    let mut client = proxy.http1().await;
    assert!(client.ask(&connect(address)).await.starts_with("HTTP/1.1 200 "));
    let (socket, _) = soon(listener.accept()).await.unwrap();
    (client, socket)
}

#[tokio::test]
async fn bytes_pass_to_addresses_and_names() {
    let proxy = Proxy::start(config()).await;
    let (v4, v6) = (echo("127.0.0.1:0").await, echo("[::1]:0").await);
    for authority in [v4.to_string(), v6.to_string(), format!("localhost:{}", v4.port())] {
        let mut client = proxy.http1().await;
        let head = client.ask(&connect(&authority)).await;
        assert_eq!(head, "HTTP/1.1 200 OK\r\n\r\n", "{authority}");
        client.write(b"hello").await;
        assert_eq!(client.read_exact(5).await, b"hello", "{authority}");
        soon(client.io.shutdown()).await.unwrap();
        assert_eq!(client.read_to_end().await.unwrap(), b"");
    }
    until(|| proxy.stats.open_tunnels() == 0).await;
    assert_eq!((proxy.stats.tcp_tunnels(), proxy.stats.bytes_from_targets()), (3, 15));
}

#[tokio::test]
async fn bulk_passes_unchanged_both_ways_at_once() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.http1().await;
    client.ask(&connect(echo("127.0.0.1:0").await)).await;
    let data = pattern(8 << 20);
    let (mut read, mut write) = tokio::io::split(client.io);
    let up = async {
        write.write_all(&data).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let down = async {
        let mut back = Vec::new();
        read.read_to_end(&mut back).await.unwrap();
        back
    };
    let ((), back) = soon(async { tokio::join!(up, down) }).await;
    assert!(back == data, "{} of {} bytes", back.len(), data.len());
}

#[tokio::test]
async fn d51_bytes_right_behind_the_head_belong_to_the_tunnel() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.http1().await;
    let request = connect(echo("127.0.0.1:0").await) + "early";
    client.ask(&request).await;
    client.write(b" and late").await;
    assert_eq!(client.read_exact(14).await, b"early and late");
}

#[tokio::test]
async fn d51_no_200_before_the_target_and_407_for_a_wrong_password() {
    let proxy = Proxy::start(config().basic("user", "pass").unwrap()).await;
    let closed = closed_port().await;
    let head = proxy.http1().await.ask(&connect(closed)).await;
    assert!(head.starts_with("HTTP/1.1 407 Proxy Authentication Required\r\n"), "{head}");
    assert!(head.contains("proxy-authenticate: Basic realm=\"pseudotcp\"\r\n"), "{head}");
    let right = "Proxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n";
    let request = connect(closed).replace("\r\n\r\n", &format!("\r\n{right}"));
    let head = proxy.http1().await.ask(&request).await;
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert!(head.contains("proxy-status: pseudotcp;error=connection_refused\r\n"), "{head}");
}

#[tokio::test]
async fn d51_each_request_of_a_connection_is_served_for_itself() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.http1().await;
    let plain = "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let bad = upgrade("connect-udp", "/elsewhere");
    // Two at once, then one more: all are answered, in turn.
    client.write(format!("{plain}{bad}").as_bytes()).await;
    assert!(client.head().await.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"));
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    assert!(head.contains("content-length: 0\r\nconnection: keep-alive\r\n"), "{head}");
    client.ask(&connect(echo("127.0.0.1:0").await)).await;
    client.write(b"mine").await;
    assert_eq!(client.read_exact(4).await, b"mine");
}

#[tokio::test]
async fn nothing_behind_a_refused_connect_is_taken_for_a_request() {
    let proxy = Proxy::start(config()).await;
    let (listener, address) = listen().await;
    let mut client = proxy.http1().await;
    // What an app said to a target that it could not reach.
    let head = client.ask(&(connect(closed_port().await) + &connect(address))).await;
    assert!(head.contains("connection: close\r\n"), "{head}");
    assert_eq!(client.read_to_end().await.unwrap(), b"");
    drop(client);
    until(|| proxy.stats.requests_refused() == 1).await;
    assert!(listener.into_std().unwrap().accept().is_err());
}

#[tokio::test]
async fn d04_the_clients_end_is_half_a_close() {
    let proxy = Proxy::start(config()).await;
    let (mut client, mut target) = pair(&proxy).await;
    client.write(b"question").await;
    soon(client.io.shutdown()).await.unwrap();
    let mut heard = Vec::new();
    soon(target.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"question");
    target.write_all(b"answer after the end").await.unwrap();
    drop(target);
    assert_eq!(client.read_to_end().await.unwrap(), b"answer after the end");
}

#[tokio::test]
async fn d04_the_targets_end_is_half_a_close() {
    let proxy = Proxy::start(config()).await;
    let (mut client, mut target) = pair(&proxy).await;
    target.write_all(b"bye").await.unwrap();
    target.shutdown().await.unwrap();
    assert_eq!(client.read_to_end().await.unwrap(), b"bye");
    client.write(b"not yet").await;
    soon(client.io.shutdown()).await.unwrap();
    let mut heard = Vec::new();
    soon(target.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"not yet");
}

#[tokio::test]
async fn a_targets_reset_cuts_the_client_off_behind_its_last_words() {
    let proxy = Proxy::start(config()).await;
    let (mut client, mut target) = pair(&proxy).await;
    client.write(b"never read").await;
    soon(target.peek(&mut [0])).await.unwrap();
    target.write_all(&pattern(50_000)).await.unwrap();
    drop(target);
    // A client that goes on sending must not lose what was said to it.
    client.write(b"still sending").await;
    assert!(client.read_exact(50_000).await == pattern(50_000));
    let cut = client.read_to_end().await.expect_err("no end was said");
    assert_eq!(cut.kind(), ErrorKind::UnexpectedEof);
}

/// How the target's reading ends.
async fn end_of(target: &mut TcpStream) -> ErrorKind {
    let mut heard = Vec::new();
    soon(target.read_to_end(&mut heard)).await.expect_err("a reset").kind()
}

#[tokio::test]
async fn a_client_that_is_lost_without_its_end_resets_the_target() {
    let proxy = Proxy::start(config()).await;
    let (client, mut target) = pair(&proxy).await;
    drop(client);
    assert_eq!(end_of(&mut target).await, ErrorKind::ConnectionReset);
    let (client, mut target) = pair(&proxy).await;
    client.io.get_ref().0.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(end_of(&mut target).await, ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_clients_reset_is_heard_while_its_target_does_not_read() {
    let proxy = Proxy::start(config()).await;
    let (mut client, target) = pair(&proxy).await;
    // More than all buffers on the way hold: the proxy no longer reads.
    let sent = tokio::time::timeout(Duration::from_millis(500), async {
        loop {
            client.io.write_all(&[7; 16_384]).await.unwrap();
        }
    });
    assert!(sent.await.is_err());
    assert_eq!(proxy.stats.open_tunnels(), 1);
    client.io.get_ref().0.set_zero_linger().unwrap();
    drop(client);
    until(|| proxy.stats.open_tunnels() == 0).await;
    drop(target);
}

async fn udp_echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            socket.send_to(&buffer[..length], peer).await.unwrap();
        }
    });
    address
}

/// Sends datagrams of several sizes, each behind the answer to the last one.
async fn assert_datagrams_pass(client: &mut Http1, format: Format) {
    let mut decoder = Decoder::with_format(format);
    for size in [0, 1, 63, 1_200, 16_384, 65_507] {
        let (payload, mut wire) = (pattern(size), BytesMut::new());
        format.encode(&payload, &mut wire);
        client.write(&wire).await;
        let answer = client.read_exact(format.encoded_len(size)).await;
        assert!(decoder.decode(&mut Bytes::from(answer)).unwrap().unwrap() == payload, "{size}");
    }
}

#[tokio::test]
async fn connect_udp_is_an_upgrade() {
    let proxy = Proxy::start(config()).await;
    let target = udp_echo().await;
    let path = format!("/.well-known/masque/udp/127.0.0.1/{}/", target.port());
    let mut client = proxy.http1().await;
    let head = client.ask(&upgrade("connect-udp", &path)).await;
    assert_eq!(
        head,
        "HTTP/1.1 101 Switching Protocols\r\ncapsule-protocol: ?1\r\n\
         connection: upgrade\r\nupgrade: connect-udp\r\n\r\n"
    );
    assert_datagrams_pass(&mut client, Format::Rfc9298).await;
}

#[tokio::test]
async fn the_old_draft_is_a_method() {
    let proxy = Proxy::start(config()).await;
    let target = udp_echo().await;
    let mut client = proxy.http1().await;
    let request = format!("CONNECT-UDP masque://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n");
    assert_eq!(client.ask(&request).await, "HTTP/1.1 200 OK\r\n\r\n");
    assert_datagrams_pass(&mut client, Format::Draft03).await;
}

#[tokio::test]
async fn a_client_may_want_to_know_that_it_was_heard() {
    let proxy = Proxy::start(config()).await;
    let path = format!("/.well-known/masque/tcp/127.0.0.1/{}/", echo("127.0.0.1:0").await.port());
    let request = upgrade("connect-tcp", &path).replace("Host", "Expect: 100-continue\r\nHost");
    let mut client = proxy.http1().await;
    assert_eq!(client.ask(&request).await, "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
}

#[tokio::test]
async fn slow_and_endless_heads_are_not_waited_for() {
    let proxy = Proxy::start(config().handshake_timeout(Duration::from_secs(2))).await;
    let mut slow = proxy.http1().await;
    slow.write(b"CONNECT ").await;
    assert!(slow.head().await.starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert_eq!(slow.read_to_end().await.unwrap(), b"");
    let mut silent = proxy.http1().await;
    assert_eq!(silent.read_to_end().await.unwrap(), b"");
    let mut endless = proxy.http1().await;
    endless.write(format!("GET /{}", "x".repeat(20_000)).as_bytes()).await;
    assert!(endless.head().await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_drain_closes_what_is_idle_and_lets_tunnels_finish() {
    let mut proxy = Proxy::start(config()).await;
    let mut idle = proxy.http1().await;
    let (mut client, mut target) = pair(&proxy).await;
    proxy.stop.take().unwrap().send(()).unwrap();
    assert_eq!(idle.read_to_end().await.unwrap(), b"");
    client.write(b"still open").await;
    let mut heard = [0; 10];
    soon(target.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"still open");
    drop(target);
    assert_eq!(client.read_to_end().await.unwrap(), b"");
    drop((client, idle));
    soon(proxy.serving).await.unwrap();
}
