//! CONNECT: bytes, ends and resets, one way and the other.

mod common;

use std::io::ErrorKind;
use std::net::SocketAddr;

use bytes::Bytes;
use common::{Client, Proxy, config, echo, listen, pattern, soon, until};
use h2::Reason;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A tunnel to a target, and the target's end of it.
async fn pair(client: &mut Client) -> (common::Tunnel, TcpStream) {
    let (listener, address) = listen().await;
    let tunnel = client.tunnel(address).await;
    let (socket, _) = soon(listener.accept()).await.unwrap();
    (tunnel, socket)
}

#[tokio::test]
async fn bytes_pass_to_addresses_and_names() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    let (v4, v6) = (echo("127.0.0.1:0").await, echo("[::1]:0").await);
    for authority in [v4.to_string(), v6.to_string(), format!("localhost:{}", v4.port())] {
        let mut tunnel = client.connect(&authority).await.open();
        tunnel.write_static(b"hello").await;
        assert_eq!(tunnel.read_exact(5).await, b"hello", "{authority}");
        tunnel.finish();
        assert_eq!(soon(tunnel.read_to_end()).await.unwrap(), b"");
    }
    until(|| proxy.stats.open_tunnels() == 0).await;
    assert_eq!((proxy.stats.tcp_tunnels(), proxy.stats.bytes_from_targets()), (3, 15));
}

#[tokio::test]
async fn bulk_passes_unchanged_both_ways_at_once() {
    let proxy = Proxy::start(config()).await;
    let data = pattern(16 << 20);
    let common::Tunnel { send, receive } =
        proxy.client().await.tunnel(echo("127.0.0.1:0").await).await;
    let mut up = common::Tunnel { send, receive };
    let upload = data.clone();
    let (send, receive) = (&mut up.send, &mut up.receive);
    let write = async {
        for piece in upload.chunks(40_000) {
            let mut piece = Bytes::copy_from_slice(piece);
            while !piece.is_empty() {
                send.reserve_capacity(piece.len());
                let capacity =
                    std::future::poll_fn(|cx| send.poll_capacity(cx)).await.unwrap().unwrap();
                send.send_data(piece.split_to(capacity.min(piece.len())), false).unwrap();
            }
        }
        send.send_data(Bytes::new(), true).unwrap();
    };
    let read = async {
        let (mut back, mut longest) = (Vec::new(), 0);
        while let Some(data) = receive.data().await {
            let data = data.unwrap();
            longest = longest.max(data.len());
            receive.flow_control().release_capacity(data.len()).unwrap();
            back.extend(data);
        }
        (back, longest)
    };
    let ((), (back, longest)) = soon(async { tokio::join!(write, read) }).await;
    assert!(back == data, "{} of {} bytes", back.len(), data.len());
    // Longer than the frames that every client takes.
    assert!((16_385..=65_160).contains(&longest), "{longest}");
}

#[tokio::test]
async fn data_sent_before_the_answer_is_kept() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    let request = http::Request::connect(echo("127.0.0.1:0").await.to_string()).body(()).unwrap();
    let (response, mut send) = client.requests.send_request(request, false).unwrap();
    send.send_data(Bytes::from_static(b"early"), true).unwrap();
    let receive = soon(response).await.unwrap().into_body();
    let mut tunnel = common::Tunnel { send, receive };
    assert_eq!(soon(tunnel.read_to_end()).await.unwrap(), b"early");
}

#[tokio::test]
async fn d04_the_clients_end_is_half_a_close() {
    let proxy = Proxy::start(config()).await;
    let (mut tunnel, mut target) = pair(&mut proxy.client().await).await;
    tunnel.write_static(b"question").await;
    tunnel.finish();
    let mut heard = Vec::new();
    soon(target.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"question");
    target.write_all(b"answer after the end").await.unwrap();
    drop(target);
    assert_eq!(soon(tunnel.read_to_end()).await.unwrap(), b"answer after the end");
}

#[tokio::test]
async fn d04_the_targets_end_is_half_a_close() {
    let proxy = Proxy::start(config()).await;
    let (mut tunnel, mut target) = pair(&mut proxy.client().await).await;
    target.write_all(b"bye").await.unwrap();
    target.shutdown().await.unwrap();
    assert_eq!(soon(tunnel.read_to_end()).await.unwrap(), b"bye");
    tunnel.write_static(b"not yet").await;
    tunnel.finish();
    let mut heard = Vec::new();
    soon(target.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"not yet");
}

#[tokio::test]
async fn a_targets_reset_is_a_connect_error() {
    let proxy = Proxy::start(config()).await;
    let (mut tunnel, target) = pair(&mut proxy.client().await).await;
    target.set_zero_linger().unwrap();
    drop(target);
    assert_eq!(tunnel.reset_reason().await, Some(Reason::CONNECT_ERROR));
}

#[tokio::test]
async fn a_target_that_closes_on_unread_bytes_is_a_connect_error() {
    let proxy = Proxy::start(config()).await;
    let (mut tunnel, mut target) = pair(&mut proxy.client().await).await;
    target.write_all(b"go away").await.unwrap();
    assert_eq!(tunnel.read_exact(7).await, b"go away");
    tunnel.write_static(b"never read").await;
    soon(target.peek(&mut [0])).await.unwrap();
    drop(target);
    assert_eq!(tunnel.reset_reason().await, Some(Reason::CONNECT_ERROR));
}

#[tokio::test]
async fn a_target_that_is_gone_after_its_end_is_a_connect_error() {
    let proxy = Proxy::start(config()).await;
    let (mut tunnel, target) = pair(&mut proxy.client().await).await;
    // A whole close looks like a half one until somebody sends.
    drop(target);
    assert_eq!(soon(tunnel.read_to_end()).await.unwrap(), b"");
    tunnel.write_static(b"anybody?").await;
    let reason = soon(std::future::poll_fn(|cx| tunnel.send.poll_reset(cx))).await.unwrap();
    assert_eq!(reason, Reason::CONNECT_ERROR);
}

#[tokio::test]
async fn a_reset_does_not_overtake_the_targets_last_words() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    for _ in 0..20 {
        let (mut tunnel, mut target) = pair(&mut client).await;
        tunnel.write_static(b"never read").await;
        soon(target.peek(&mut [0])).await.unwrap();
        target.write_all(&pattern(100_000)).await.unwrap();
        // Closing on unread bytes is a reset, right behind the answer.
        drop(target);
        assert!(tunnel.read_exact(100_000).await == pattern(100_000));
        assert_eq!(tunnel.reset_reason().await, Some(Reason::CONNECT_ERROR));
    }
}

/// How the target's reading ends.
async fn end_of(target: &mut TcpStream) -> ErrorKind {
    let mut heard = Vec::new();
    soon(target.read_to_end(&mut heard)).await.expect_err("a reset").kind()
}

#[tokio::test]
async fn a_clients_reset_resets_the_target() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    for reason in [Reason::CANCEL, Reason::CONNECT_ERROR, Reason::NO_ERROR] {
        let (mut tunnel, mut target) = pair(&mut client).await;
        tunnel.send.send_reset(reason);
        assert_eq!(end_of(&mut target).await, ErrorKind::ConnectionReset, "{reason}");
    }
}

#[tokio::test]
async fn a_lost_client_resets_the_target() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    let (_tunnel, mut target) = pair(&mut client).await;
    client.driver.abort();
    assert_eq!(end_of(&mut target).await, ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn what_a_gone_client_had_ended_still_arrives() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    let (mut tunnel, mut target) = pair(&mut client).await;
    target.shutdown().await.unwrap();
    soon(tunnel.read_to_end()).await.unwrap();
    let data = pattern(1 << 20);
    soon(tunnel.write(data.clone())).await.unwrap();
    tunnel.finish();
    // All has left the client once the proxy has seen the end; then the connection goes.
    let mut first = vec![0; 1];
    soon(target.read_exact(&mut first)).await.unwrap();
    drop((tunnel, client.requests));
    let mut heard = first;
    soon(target.read_to_end(&mut heard)).await.unwrap();
    assert!(heard == data);
}

#[tokio::test]
async fn a_cancelled_request_opens_nothing() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    let (listener, address) = listen().await;
    let request = http::Request::connect(address.to_string()).body(()).unwrap();
    let (response, mut send) = client.requests.send_request(request, false).unwrap();
    send.send_reset(Reason::CANCEL);
    assert!(soon(response).await.is_err());
    // Whether the target ever heard of it or not, the proxy keeps nothing.
    drop(listener);
    until(|| proxy.stats.open_tunnels() == 0).await;
    let mut tunnel = client.tunnel(echo("127.0.0.1:0").await).await;
    tunnel.write_static(b"alive").await;
    assert_eq!(tunnel.read_exact(5).await, b"alive");
}

/// A target that accepts and does not read, with little room in its kernel.
fn deaf_listener() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    SockRef::from(&listener).set_recv_buffer_size(16 * 1024).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_targets_do_not_stop_their_neighbours() {
    const STREAM: u32 = 1 << 20;
    const STALLED: u64 = 6;
    // The windows of the stalled tunnels together are far more than the connection's.
    let proxy = Proxy::start(config().windows(STREAM, 2 * STREAM)).await;
    let mut client = proxy.client().await;
    let (_deaf, address) = deaf_listener();
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    for _ in 0..STALLED {
        let (mut tunnel, sent) = (client.tunnel(address).await, sent.clone());
        tokio::spawn(async move {
            loop {
                tunnel.write(Bytes::from_static(&[7; 8192])).await.unwrap();
                sent.fetch_add(8192, std::sync::atomic::Ordering::Relaxed);
            }
        });
    }
    // HTTP/2 announces room by half windows: so much waits in the proxy when all are stalled.
    let sent = || sent.load(std::sync::atomic::Ordering::Relaxed);
    let full = STALLED * u64::from(STREAM / 2 - 8192);
    until(|| sent().saturating_sub(proxy.stats.bytes_to_targets()) >= full).await;
    let mut neighbour = client.tunnel(echo("127.0.0.1:0").await).await;
    for _ in 0..64 {
        soon(neighbour.write(pattern(100_000))).await.unwrap();
        assert!(neighbour.read_exact(100_000).await == pattern(100_000));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_tiny_frames_disturbs_nobody() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    let (_deaf, address) = deaf_listener();
    let mut flood = client.tunnel(address).await;
    for _ in 0..100_000 {
        soon(flood.write(Bytes::from_static(&[1; 40]))).await.unwrap();
    }
    let mut neighbour = client.tunnel(echo("127.0.0.1:0").await).await;
    neighbour.write_static(b"still here").await;
    assert_eq!(neighbour.read_exact(10).await, b"still here");
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_its_own_target_only() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    let (stalled, mut source) = pair(&mut client).await;
    let blocked = tokio::spawn(async move {
        loop {
            source.write_all(&[3; 16_384]).await.unwrap();
        }
    });
    // The client's window for the stalled tunnel is 1 MiB.
    until(|| proxy.stats.bytes_from_targets() >= 1 << 20).await;
    let mut neighbour = client.tunnel(echo("127.0.0.1:0").await).await;
    neighbour.write_static(b"free").await;
    assert_eq!(neighbour.read_exact(4).await, b"free");
    assert!(!blocked.is_finished());
    blocked.abort();
    drop(stalled);
}

#[tokio::test]
async fn an_idle_tunnel_is_reset() {
    let idle = std::time::Duration::from_millis(50);
    let proxy = Proxy::start(config().tcp_idle_timeout(idle)).await;
    let (mut tunnel, mut target) = pair(&mut proxy.client().await).await;
    assert_eq!(tunnel.reset_reason().await, Some(Reason::CANCEL));
    assert_eq!(end_of(&mut target).await, ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn hundreds_of_tunnels_share_a_connection() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    let target = echo("127.0.0.1:0").await;
    let mut tunnels = Vec::new();
    for _ in 0..300 {
        tunnels.push(client.tunnel(target).await);
    }
    for tunnel in &mut tunnels {
        tunnel.write_static(b"one of many").await;
    }
    for tunnel in &mut tunnels {
        assert_eq!(tunnel.read_exact(11).await, b"one of many");
    }
    assert_eq!(proxy.stats.open_tunnels(), 300);
}
