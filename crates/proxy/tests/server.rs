//! The server as a whole: strange clients, limits, and its end.

mod common;

use std::io::ErrorKind;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{Proxy, config, echo, listen, soon, until};
use pseudotcp_proxy::{MetricsServer, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

/// Whatever happened, the proxy serves on.
async fn assert_alive(proxy: &Proxy) {
    let mut tunnel = proxy.client().await.tunnel(echo("127.0.0.1:0").await).await;
    tunnel.write_static(b"alive").await;
    assert_eq!(tunnel.read_exact(5).await, b"alive");
}

#[tokio::test]
async fn connections_are_spread_over_runtimes() {
    let runtimes = [(); 2]
        .map(|()| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());
    let handles = runtimes.iter().map(|runtime| runtime.handle().clone()).collect::<Vec<_>>();
    let mut proxy = Proxy::start_as(config(), |server| server.spread_over(handles.clone())).await;
    let mut clients = Vec::new();
    for connections in 1_usize..=4 {
        let mut client = proxy.client().await;
        let mut tunnel = client.tunnel(echo("127.0.0.1:0").await).await;
        tunnel.write_static(b"hello").await;
        assert_eq!(tunnel.read_exact(5).await, b"hello");
        clients.push((client, tunnel));
        // A task for the connection, and one for its tunnel.
        let tasks = || handles.iter().map(|handle| handle.metrics().num_alive_tasks());
        let halves = [2 * connections.div_ceil(2), 2 * (connections / 2)];
        until(|| tasks().eq(halves)).await;
    }
    proxy.stop.take().unwrap().send(()).unwrap();
    drop(clients);
    soon(&mut proxy.serving).await.unwrap();
    for runtime in runtimes {
        assert_eq!(runtime.metrics().num_alive_tasks(), 0);
        runtime.shutdown_background();
    }
}

#[tokio::test]
async fn spread_over_no_runtime_connections_are_served_all_the_same() {
    assert_alive(&Proxy::start_as(config(), |server| server.spread_over([])).await).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_congestion_control_that_the_kernel_has_not_is_no_secret() {
    let bind = |name| Server::bind(config().congestion_control(name), ([127, 0, 0, 1], 0).into());
    assert!(bind("reno").await.is_ok());
    assert_eq!(bind("no such").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn garbage_on_the_port_harms_nobody() {
    let proxy = Proxy::start(config()).await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\xff\xff\x01", &[0; 9_000]] {
        let mut socket = TcpStream::connect(proxy.address).await.unwrap();
        socket.write_all(garbage).await.unwrap();
        socket.shutdown().await.unwrap();
        // An alert may come; then the end does.
        let _ = soon(socket.read_to_end(&mut Vec::new())).await;
    }
    until(|| proxy.stats.handshakes_failed() == 3).await;
    assert_alive(&proxy).await;
}

#[tokio::test]
async fn garbage_inside_tls_harms_nobody() {
    let proxy = Proxy::start(config()).await;
    let mut tls = soon(proxy.tls(&[b"h2"])).await.unwrap();
    tls.write_all(&[0x55; 100]).await.unwrap();
    tls.flush().await.unwrap();
    let _ = soon(tls.read_to_end(&mut Vec::new())).await;
    until(|| proxy.stats.handshakes_failed() == 1).await;
    assert_alive(&proxy).await;
}

#[tokio::test]
async fn d43_http2_is_spoken_where_it_was_negotiated_and_nowhere_else() {
    let proxy = Proxy::start(config()).await;
    soon(proxy.tls(&[b"h3"])).await.expect_err("no common protocol");
    let both = soon(proxy.tls(&[b"h2", b"http/1.1"])).await.unwrap();
    assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut none = soon(proxy.tls(&[])).await.unwrap();
    none.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    soon(none.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 505 "));
}

#[tokio::test]
async fn a_client_that_says_nothing_is_not_waited_for() {
    let proxy = Proxy::start(config().handshake_timeout(Duration::from_millis(50))).await;
    let mut silent = TcpStream::connect(proxy.address).await.unwrap();
    assert_eq!(soon(silent.read_to_end(&mut Vec::new())).await.unwrap(), 0);
    assert_eq!(proxy.stats.handshakes_failed(), 1);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_turned_away() {
    let proxy = Proxy::start(config().max_connections(1)).await;
    let client = proxy.client().await;
    let mut second = TcpStream::connect(proxy.address).await.unwrap();
    let _ = soon(second.read_to_end(&mut Vec::new())).await;
    assert_eq!(proxy.stats.connections_turned_away(), 1);
    drop(client);
}

#[tokio::test]
async fn connections_beyond_a_clients_limit_are_turned_away() {
    let proxy = Proxy::start(config().max_connections_per_client(1)).await;
    let client = proxy.client().await;
    let mut second = TcpStream::connect(proxy.address).await.unwrap();
    let _ = soon(second.read_to_end(&mut Vec::new())).await;
    assert_eq!(proxy.stats.connections_turned_away(), 1);
    client.driver.abort();
    drop(client.requests);
    soon(async { while proxy.tls(&[b"h2"]).await.is_err() {} }).await;
}

#[tokio::test]
async fn a_reload_changes_certificate_and_credentials_under_open_tunnels() {
    let mut proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    let mut tunnel = client.tunnel(echo("127.0.0.1:0").await).await;
    let next = config().bearer("token-2").unwrap();
    let certificate = next.certificate_der().to_vec();
    proxy.handle.reload(next);
    soon(proxy.tls(&[b"h2"])).await.expect_err("another certificate");
    proxy.certificate = certificate.into();
    soon(proxy.tls(&[b"h2"])).await.unwrap();
    tunnel.write_static(b"still open").await;
    assert_eq!(tunnel.read_exact(10).await, b"still open");
    assert_eq!(client.connect("127.0.0.1:1").await.refusal().await.0, 407);
}

#[tokio::test]
async fn the_counters_are_there_for_prometheus() {
    let proxy = Proxy::start(config()).await;
    let metrics = MetricsServer::bind(&proxy.stats, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = metrics.local_addr();
    let serving = tokio::spawn(metrics.serve());
    let mut client = proxy.client().await;
    let mut tunnel = client.tunnel(echo("127.0.0.1:0").await).await;
    tunnel.write_static(b"hello").await;
    assert_eq!(tunnel.read_exact(5).await, b"hello");
    client.connect("127.0.0.1:0").await.refusal().await;
    let ask = async |request: &str| {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon(socket.read_to_string(&mut answer)).await.unwrap();
        answer
    };
    let scrape = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    // What the target sent is counted when the client has it, or a moment later.
    until(|| proxy.stats.bytes_from_targets() == 5).await;
    let answer = ask(scrape).await;
    assert!(answer.contains("content-type: application/openmetrics-text"), "{answer}");
    for line in [
        "pseudotcp_proxy_tunnels_total{protocol=\"CONNECT\"} 1",
        "pseudotcp_proxy_open_tunnels 1",
        "pseudotcp_proxy_refusals_total{error=\"http_request_error\"} 1",
        "pseudotcp_proxy_connections_total 1",
        "pseudotcp_proxy_bytes_from_targets_total 5",
        "# EOF",
    ] {
        assert!(answer.lines().any(|printed| printed == line), "{line} in {answer}");
    }
    assert!(ask(&scrape.replace("/metrics", "/")).await.starts_with("HTTP/1.1 404 "));
    assert!(ask(&scrape.replace("GET", "POST")).await.starts_with("HTTP/1.1 405 "));
    assert!(ask("nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    serving.abort();
}

#[tokio::test]
async fn a_connection_without_tunnels_is_closed_in_the_end() {
    let proxy = Proxy::start(config().connection_idle_timeout(Duration::from_millis(50))).await;
    let client = proxy.client().await;
    soon(client.driver).await.unwrap();
    // One with a tunnel is not idle.
    let mut busy = proxy.client().await;
    let (listener, address) = listen().await;
    let mut tunnel = busy.tunnel(address).await;
    let (mut target, _) = listener.accept().await.unwrap();
    // Meanwhile another comes and is closed, which takes the idle time at least.
    soon(proxy.client().await.driver).await.unwrap();
    target.write_all(b"late").await.unwrap();
    assert_eq!(tunnel.read_exact(4).await, b"late");
}

#[tokio::test]
async fn a_drain_lets_tunnels_finish() {
    let mut proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    let mut tunnel = client.tunnel(echo("127.0.0.1:0").await).await;
    proxy.stop.take().unwrap().send(()).unwrap();
    // GOAWAY: no further request, but the open tunnel goes on.
    let mut requests = client.requests.clone();
    until(|| {
        requests.poll_ready(&mut Context::from_waker(Waker::noop())).map(|r| r.is_err())
            == Poll::Ready(true)
    })
    .await;
    tunnel.write_static(b"still open").await;
    assert_eq!(tunnel.read_exact(10).await, b"still open");
    assert!(!proxy.serving.is_finished());
    assert_eq!(
        TcpStream::connect(proxy.address).await.unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    tunnel.finish();
    soon(tunnel.read_to_end()).await.unwrap();
    drop(tunnel);
    soon(proxy.serving).await.unwrap();
    soon(client.driver).await.unwrap();
}

#[tokio::test]
async fn a_drain_does_not_wait_for_ever() {
    let mut proxy = Proxy::start(config().drain_timeout(Duration::from_millis(50))).await;
    let mut client = proxy.client().await;
    let (listener, address) = listen().await;
    let _tunnel = client.tunnel(address).await;
    let (mut target, _) = listener.accept().await.unwrap();
    proxy.stop.take().unwrap().send(()).unwrap();
    soon(proxy.serving).await.unwrap();
    let cut = soon(target.read_to_end(&mut Vec::new())).await.expect_err("a reset");
    assert_eq!(cut.kind(), ErrorKind::ConnectionReset);
    assert_eq!(proxy.stats.open_tunnels(), 0);
}

#[tokio::test]
async fn dropping_the_server_cuts_everything() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    let (listener, address) = listen().await;
    let mut tunnel = client.tunnel(address).await;
    let (mut target, _) = listener.accept().await.unwrap();
    proxy.serving.abort();
    assert!(soon(tunnel.read_to_end()).await.is_err());
    assert!(soon(target.read_to_end(&mut Vec::new())).await.is_err());
    assert!(TcpStream::connect(proxy.address).await.is_err());
}
