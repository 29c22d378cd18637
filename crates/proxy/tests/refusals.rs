//! How the proxy says no: statuses, causes, credentials, limits.

mod common;

use std::time::Duration;

use common::{Answer, Client, Proxy, closed_port, config, echo, listen, soon, until};
use http::{Method, Request};
use socket2::{Domain, Socket, Type};

/// CONNECT with credentials.
async fn connect_as(client: &mut Client, target: &str, credentials: Option<&str>) -> Answer {
    let mut request = Request::connect(target);
    if let Some(credentials) = credentials {
        request = request.header("proxy-authorization", credentials);
    }
    client.request(request.body(()).unwrap()).await
}

fn cause(error: &str) -> String {
    format!("pseudotcp;error={error}")
}

#[tokio::test]
async fn d39_a_refused_target_is_never_a_200() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    let refused = client.connect(closed_port().await).await.refusal().await;
    assert_eq!(refused, (502, cause("connection_refused")));
    assert_eq!((proxy.stats.requests_refused(), proxy.stats.tcp_tunnels()), (1, 0));
}

#[tokio::test]
async fn a_name_without_address_is_a_dns_error() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    for answer in [
        client.connect("no-such-host.invalid:80").await,
        client.connect_udp("no-such-host.invalid", 53).await,
    ] {
        let (status, cause) = answer.refusal().await;
        assert_eq!(status, 502);
        assert!(cause.starts_with("pseudotcp;error=dns_error"), "{cause}");
    }
}

#[tokio::test]
async fn a_silent_target_times_out() {
    // A queue for one that holds one: Linux drops every further SYN.
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let _first = soon(tokio::net::TcpStream::connect(address)).await.unwrap();

    let timeout = Duration::from_millis(100);
    let proxy = Proxy::start(config().connect_timeout(timeout)).await;
    let mut client = proxy.client().await;
    assert_eq!(client.connect(address).await.refusal().await, (504, cause("connection_timeout")));
}

#[tokio::test]
async fn the_policy_looks_at_resolved_addresses() {
    let target = echo("127.0.0.1:0").await;
    let denied = (403, cause("destination_ip_prohibited"));
    let proxy = Proxy::start(config().deny_private(true).allow("::1/128".parse().unwrap())).await;
    let mut client = proxy.client().await;
    for authority in [target.to_string(), "[::ffff:127.0.0.1]:80".into(), "0.0.0.0:80".into()] {
        assert_eq!(client.connect(&authority).await.refusal().await, denied, "{authority}");
    }
    assert_eq!(client.connect_udp("127.0.0.1", 53).await.refusal().await, denied);
    let allowed = echo("[::1]:0").await;
    client.tunnel(allowed).await;

    let proxy = Proxy::start(config().deny("127.0.0.0/8".parse().unwrap())).await;
    let mut client = proxy.client().await;
    assert_eq!(client.connect(target).await.refusal().await, denied);
}

#[tokio::test]
async fn credentials_open_the_proxy() {
    let target = echo("127.0.0.1:0").await.to_string();
    let config = config().basic("user", "pass").unwrap().bearer("token-1").unwrap();
    let proxy = Proxy::start(config).await;
    let mut client = proxy.client().await;
    for wrong in [None, Some("Basic d3Jvbmc6d3Jvbmc="), Some("Bearer token-2"), Some("token-1")] {
        let answer = connect_as(&mut client, &target, wrong).await;
        let challenges: Vec<_> =
            answer.head.headers().get_all("proxy-authenticate").iter().collect();
        assert_eq!(challenges, ["Basic realm=\"pseudotcp\"", "Bearer realm=\"pseudotcp\""]);
        assert_eq!(answer.refusal().await, (407, cause("http_request_denied")));
    }
    for right in ["Basic dXNlcjpwYXNz", "bearer token-1"] {
        connect_as(&mut client, &target, Some(right)).await.open();
    }
    // connect-tcp makes an origin of the proxy.
    let answer = client.connect_tcp("127.0.0.1", 1).await;
    let challenges: Vec<_> = answer.head.headers().get_all("www-authenticate").iter().collect();
    assert_eq!(challenges, ["Basic realm=\"pseudotcp\"", "Bearer realm=\"pseudotcp\""]);
    assert_eq!(answer.refusal().await, (401, cause("http_request_denied")));
    // Who is not known does not learn whether the rest of the request makes sense.
    let answer = client.connect_udp("127.0.0.1", 0).await;
    assert_eq!(answer.refusal().await, (407, cause("http_request_denied")));
}

#[tokio::test]
async fn requests_that_are_no_tunnel_are_told_so() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    for authority in ["127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", ":80"] {
        let (status, cause) = client.connect(authority).await.refusal().await;
        assert_eq!(status, 400, "{authority}");
        assert!(cause.starts_with("pseudotcp;error=http_request_error;details="), "{cause}");
    }
    let bad = cause("http_request_error");
    let get = Request::get("https://localhost/").body(()).unwrap();
    let answer = client.request(get).await;
    assert_eq!(answer.head.headers()["allow"], "CONNECT");
    assert_eq!(answer.refusal().await, (405, bad.clone()));
    let brew = Method::from_bytes(b"BREW").unwrap();
    let brew = Request::builder().method(brew).uri("https://localhost/").body(()).unwrap();
    assert_eq!(client.request(brew).await.refusal().await, (501, bad.clone()));
    let path = "/.well-known/masque/ip/*/*/";
    assert_eq!(client.extended("connect-ip", path).await.refusal().await, (501, bad.clone()));
    assert_eq!(client.extended("connect-udp", "/elsewhere").await.refusal().await, (404, bad));
    assert_eq!(client.connect_udp("127.0.0.1", 0).await.refusal().await.0, 400);
    // None of this has harmed the connection.
    client.tunnel(echo("127.0.0.1:0").await).await;
}

#[tokio::test]
async fn the_policy_looks_at_ports_too() {
    let (open, closed) = (echo("127.0.0.1:0").await, echo("127.0.0.1:0").await);
    let deny = format!("*:{}", closed.port()).parse().unwrap();
    let proxy = Proxy::start(config().deny(deny)).await;
    let mut client = proxy.client().await;
    client.tunnel(open).await;
    let denied = (403, cause("destination_ip_prohibited"));
    assert_eq!(client.connect(closed).await.refusal().await, denied);
    assert_eq!(
        client.connect(format!("localhost:{}", closed.port())).await.refusal().await,
        denied
    );
}

#[tokio::test]
async fn a_client_with_all_its_tunnels_is_told_so() {
    let proxy = Proxy::start(config().max_tunnels_per_client(1)).await;
    let target = echo("127.0.0.1:0").await;
    let mut first = proxy.client().await.tunnel(target).await;
    let mut another = proxy.client().await;
    let answer = another.connect(target).await;
    assert_eq!(answer.head.headers()["retry-after"], "1");
    assert_eq!(answer.refusal().await, (429, cause("connection_limit_reached")));
    first.finish();
    soon(first.read_to_end()).await.unwrap();
    until(|| proxy.stats.open_tunnels() == 0).await;
    another.tunnel(target).await;
}

#[tokio::test]
async fn too_many_tunnels_are_told_to_come_again() {
    let proxy = Proxy::start(config().max_tunnels(1)).await;
    let mut client = proxy.client().await;
    let target = echo("127.0.0.1:0").await;
    let mut first = client.tunnel(target).await;
    let answer = client.connect(target).await;
    assert_eq!(answer.head.headers()["retry-after"], "1");
    assert_eq!(answer.refusal().await, (503, cause("connection_limit_reached")));
    first.finish();
    soon(first.read_to_end()).await.unwrap();
    until(|| proxy.stats.open_tunnels() == 0).await;
    // The place is free again; the permit goes a moment after the count.
    let mut again = client.connect(target).await;
    while again.head.status() == 503 {
        again = client.connect(target).await;
    }
    again.open();
}

#[tokio::test]
async fn a_thousand_requests_given_up_at_once_are_no_attack() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    let (_listener, address) = listen().await;
    for _ in 0..1_000 {
        std::future::poll_fn(|cx| client.requests.poll_ready(cx)).await.unwrap();
        let request = Request::connect(address.to_string()).body(()).unwrap();
        let (_, mut send) = client.requests.send_request(request, false).unwrap();
        send.send_reset(h2::Reason::CANCEL);
    }
    let mut tunnel = client.tunnel(echo("127.0.0.1:0").await).await;
    tunnel.write_static(b"alive").await;
    assert_eq!(tunnel.read_exact(5).await, b"alive");
}
