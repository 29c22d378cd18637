//! What proxies speak: dialects, HTTP/1.1, half-close and credentials.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use pseudotcp_masque::conformance::{Loopback, run};
use pseudotcp_masque::{MAX_CHUNK, OpenError, Source, Transport as _, TunnelError};
use pseudotcp_masque_h2::{Auth, Client, Config, Credentials, HalfClose, TcpDialect, UdpDialect};

use crate::support::raw::{self, END_HEADERS, HEADERS, STATUS_200, USUAL_SETTINGS};
use crate::support::{
    Identity, Proxy, accept, builder, echo, http1, open, refuse, request, send_all, serve, soon,
    works,
};

/// Runs the conformance suite through our own proxy.
async fn conforms(configure: impl Fn(Config) -> Config) {
    let config = pseudotcp_proxy::Config::self_signed(["localhost"]).unwrap();
    let certificate = config.certificate_der().to_vec();
    let ip = IpAddr::from(Ipv4Addr::LOCALHOST);
    let server = pseudotcp_proxy::Server::bind(config, (ip, 0).into()).await.unwrap();
    let url = format!("https://{}", server.local_addr());
    let serving = tokio::spawn(server.serve(std::future::pending()));
    let config = configure(Config::new(&url).unwrap().pin(&certificate).unwrap());
    let client = Client::new(config).unwrap();
    let fixture = Loopback::start_on(ip, Arc::new(client)).await.unwrap();
    run(&fixture).await.assert_passed();
    serving.abort();
}

#[tokio::test]
async fn connect_tcp_and_the_old_draft_conform() {
    conforms(|c| c.tcp_dialect(TcpDialect::ConnectTcp).udp_dialect(UdpDialect::Draft03)).await;
}

#[tokio::test]
async fn flows_that_are_open_in_advance_conform() {
    conforms(Config::early_datagrams).await;
}

/// A proxy that speaks HTTP/1.1 only, and how many requests it has got.
async fn http1_only(answer: &'static str) -> (Proxy, Arc<AtomicUsize>) {
    let heads = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&heads);
    let any_port = ([127, 0, 0, 1], 0).into();
    let identity = Identity::new(&[b"http/1.1"]);
    let play = move |tls| http1(tls, Arc::clone(&counted), answer);
    (Proxy::start_at(any_port, identity, play).await, heads)
}

#[tokio::test]
async fn over_http1_each_flow_has_a_connection_and_one_is_kept_warm() {
    let answer = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nearly";
    let (proxy, heads) = http1_only(answer).await;
    let client = proxy.client();
    let mut tunnels = Vec::new();
    for flow in 1..=3 {
        let mut tunnel = soon(open(&client, "echo.test")).await.unwrap();
        let mut early = Vec::new();
        while early.len() < 5 {
            early.extend(soon(tunnel.next()).await.unwrap().unwrap());
        }
        assert_eq!(early, b"early", "d41");
        works(&mut tunnel).await;
        tunnels.push(tunnel);
        assert_eq!(heads.load(Ordering::SeqCst), flow);
    }
    assert!((3..=4).contains(&proxy.connections()), "{}", proxy.connections());
    let mut last = tunnels.remove(0);
    soon(last.close()).await.unwrap();
    assert!(soon(last.next()).await.is_none());
}

#[tokio::test]
async fn d39_over_http1_only_a_2xx_opens_a_flow_and_101_an_upgrade() {
    let refused = "HTTP/1.1 502 Bad Gateway\r\nproxy-status: p;error=connection_refused\r\n\r\n";
    let (proxy, _) = http1_only(refused).await;
    let outcome = soon(open(&proxy.client(), "dead.test")).await.map(drop);
    assert!(matches!(outcome, Err(OpenError::Refused(_))), "{outcome:?}");

    // RFC 9298 §3.3: a 200 is no upgrade.
    let (proxy, _) = http1_only("HTTP/1.1 200 OK\r\n\r\n").await;
    let config = proxy.config().udp_dialect(UdpDialect::Rfc9298);
    let outcome = soon(Client::new(config).unwrap().open_udp(request("udp.test"))).await;
    assert!(matches!(outcome.map(drop), Err(OpenError::Protocol(_))));

    let (proxy, _) = http1_only("HTTP/1.1 teapot\r\n\r\n").await;
    let outcome = soon(open(&proxy.client(), "x.test")).await.map(drop);
    assert!(matches!(outcome, Err(OpenError::Protocol(_))), "{outcome:?}");
}

#[tokio::test]
async fn udp_over_http1_is_an_upgrade_and_else_the_old_draft() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: connect-udp\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
    ] {
        let (proxy, _) = http1_only(answer).await;
        let client = proxy.client();
        for _ in 0..2 {
            let mut tunnel = soon(client.open_udp(request("udp.test"))).await.unwrap();
            for payload in [&b"one"[..], b"", b"three"] {
                soon(tunnel.send(Bytes::from_static(payload))).await.unwrap();
                assert_eq!(soon(tunnel.next()).await.unwrap().unwrap(), payload);
            }
        }
    }
}

/// A connection that went stale while it was kept warm costs no flow.
#[tokio::test]
async fn d48_a_warm_connection_of_http1_that_went_stale_is_not_used() {
    let (proxy, heads) = http1_only("HTTP/1.1 200 OK\r\n\r\n").await;
    let client = proxy.client();
    soon(client.ready(crate::support::deadline())).await.unwrap();
    proxy.cut().await;
    works(&mut soon(open(&client, "echo.test")).await.unwrap()).await;
    assert_eq!(heads.load(Ordering::SeqCst), 1);
}

/// A proxy of HTTP/2 that tells how each request was made, and knows only some of them.
fn knowing(known: &'static str) -> (Proxy, Arc<std::sync::Mutex<Vec<String>>>) {
    let seen = Arc::<std::sync::Mutex<Vec<String>>>::default();
    let told = Arc::clone(&seen);
    let proxy = Proxy::in_memory(move |tls| {
        let told = Arc::clone(&told);
        serve(tls, builder(), move |request, respond| {
            let protocol = request.extensions().get::<h2::ext::Protocol>();
            let how = protocol.map_or(request.method().as_str(), |p| p.as_str()).to_owned();
            told.lock().unwrap().push(how.clone());
            async move {
                if how == known {
                    echo(request, respond).await;
                } else {
                    refuse(respond, 501, &[]);
                }
            }
        })
    });
    (proxy, seen)
}

#[tokio::test(start_paused = true)]
async fn a_501_is_answered_by_connect_tcp_and_remembered() {
    let (proxy, seen) = knowing("connect-tcp");
    let client = proxy.client();
    for _ in 0..2 {
        let mut tunnel = soon(open(&client, "echo.test")).await.unwrap();
        works(&mut tunnel).await;
        let large = Bytes::from(vec![7; MAX_CHUNK]);
        soon(tunnel.send(large.clone())).await.unwrap();
        let mut received = Vec::new();
        while received.len() < large.len() {
            received.extend(soon(tunnel.next()).await.unwrap().unwrap());
        }
        assert_eq!(received, large);
        // The echo sends our FINAL_DATA back.
        soon(tunnel.close()).await.unwrap();
        assert!(soon(tunnel.next()).await.is_none());
    }
    assert_eq!(*seen.lock().unwrap(), ["CONNECT", "connect-tcp", "connect-tcp"]);
}

#[tokio::test(start_paused = true)]
async fn udp_falls_back_to_the_old_draft_and_remembers_it() {
    let (proxy, seen) = knowing("CONNECT-UDP");
    let client = proxy.client();
    for _ in 0..2 {
        let mut tunnel = soon(client.open_udp(request("udp.test"))).await.unwrap();
        soon(tunnel.send(Bytes::from_static(b"ping"))).await.unwrap();
        assert_eq!(soon(tunnel.next()).await.unwrap().unwrap(), "ping");
    }
    assert_eq!(*seen.lock().unwrap(), ["connect-udp", "CONNECT-UDP", "CONNECT-UDP"]);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_knows_no_dialect_is_asked_twice_only_once() {
    let (proxy, seen) = knowing("nothing");
    let client = proxy.client();
    for _ in 0..2 {
        let outcome = soon(client.open_udp(request("udp.test"))).await.map(drop);
        assert!(matches!(outcome, Err(OpenError::Protocol(_))), "{outcome:?}");
    }
    assert_eq!(*seen.lock().unwrap(), ["connect-udp", "CONNECT-UDP", "connect-udp"]);
}

#[tokio::test(start_paused = true)]
async fn connect_tcp_without_final_data_is_a_reset() {
    let proxy = Proxy::in_memory(|tls| {
        serve(tls, builder(), async |_request, mut respond| {
            let mut send = accept(&mut respond);
            let data = [&pseudotcp_masque::bytestream::data_head(4)[..], b"part"].concat();
            send.send_data(Bytes::from(data), true).unwrap();
        })
    });
    let client = Client::new(proxy.config().tcp_dialect(TcpDialect::ConnectTcp)).unwrap();
    let mut tunnel = soon(open(&client, "cut.test")).await.unwrap();
    assert_eq!(soon(tunnel.next()).await.unwrap().unwrap(), "part");
    assert!(matches!(soon(tunnel.next()).await, Some(Err(TunnelError::Reset))));
    assert!(soon(tunnel.next()).await.is_none());
}

/// A proxy that ends both ways at the client's end, as h2o does.
fn without_half_close() -> Proxy {
    Proxy::in_memory(|tls| {
        serve(tls, builder(), async |request, mut respond| {
            let response = http::Response::builder().header("server", "h2o/2.3.0-DEV");
            let mut send = respond.send_response(response.body(()).unwrap(), false).unwrap();
            let mut body = request.into_body();
            let question = body.data().await.unwrap().unwrap();
            let slow = tokio::time::sleep(std::time::Duration::from_secs(1));
            tokio::select! {
                () = async { while body.data().await.is_some() {} } => {}
                () = slow => assert!(send_all(&mut send, question).await),
            }
            send.send_data(Bytes::new(), true).unwrap();
            while body.data().await.is_some() {}
        })
    })
}

#[tokio::test(start_paused = true)]
async fn our_end_waits_where_the_proxy_would_take_it_for_both() {
    let proxy = without_half_close();
    for (wanted, answered) in
        [(HalfClose::Auto, true), (HalfClose::Defer, true), (HalfClose::Forward, false)]
    {
        let client = Client::new(proxy.config().half_close(wanted)).unwrap();
        let mut tunnel = soon(open(&client, "slow.test")).await.unwrap();
        soon(tunnel.send(Bytes::from_static(b"question"))).await.unwrap();
        soon(tunnel.close()).await.unwrap();
        let mut answer = Vec::new();
        while let Some(chunk) = soon(tunnel.next()).await {
            answer.extend(chunk.unwrap());
        }
        assert_eq!(answer == b"question", answered, "{wanted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn interim_responses_are_read_over() {
    let proxy = Proxy::in_memory(|mut tls| async move {
        raw::begin(&mut tls, USUAL_SETTINGS).await;
        let stream = raw::request(&mut tls).await.unwrap();
        // `:status: 103`, as a literal.
        raw::send(&mut tls, HEADERS, END_HEADERS, stream, b"\x08\x03103").await;
        raw::send(&mut tls, HEADERS, END_HEADERS, stream, STATUS_200).await;
        raw::send(&mut tls, raw::DATA, 0, stream, b"hello").await;
        while raw::receive(&mut tls).await.is_some() {}
    });
    let mut tunnel = soon(open(&proxy.client(), "early.test")).await.unwrap();
    assert_eq!(soon(tunnel.next()).await.unwrap().unwrap(), "hello");
}

/// Gives tokens `t0`, `t1`, …; each counts once. Remembers the challenges.
#[derive(Default)]
struct Purse {
    given: AtomicUsize,
    challenges: Arc<std::sync::Mutex<Vec<String>>>,
}

#[async_trait]
impl Credentials for Purse {
    async fn fetch(&self, challenge: Option<&str>) -> Result<Auth, Source> {
        self.challenges.lock().unwrap().extend(challenge.map(str::to_owned));
        let number = self.given.fetch_add(1, Ordering::SeqCst);
        Ok(Auth::PrivateToken(format!("t{number}")))
    }
}

/// Takes the tokens from `good` on, and wants them in this field.
fn wanting(field: &'static str, status: u16, good: &'static [&'static str]) -> Proxy {
    Proxy::in_memory(move |tls| {
        serve(tls, builder(), move |request, respond| async move {
            let shown =
                request.headers().get(field).map(|value| value.to_str().unwrap().to_owned());
            let is_good = |shown: &String| {
                good.iter().any(|token| *shown == format!("PrivateToken token=\"{token}\""))
            };
            if shown.as_ref().is_some_and(is_good) {
                echo(request, respond).await;
            } else {
                let challenge = ("proxy-authenticate", "PrivateToken challenge=\"c\"");
                refuse(respond, status, &[challenge, ("www-authenticate", challenge.1)]);
            }
        })
    })
}

#[tokio::test(start_paused = true)]
async fn each_request_has_its_own_token_and_a_refused_one_is_replaced_once() {
    for (field, status) in [("proxy-authorization", 407), ("authorization", 401)] {
        let purse = Purse::default();
        let challenges = Arc::clone(&purse.challenges);
        let proxy = wanting(field, status, &["t1", "t2"]);
        let client = Client::new(proxy.config().credentials(purse)).unwrap();
        for _ in 0..2 {
            works(&mut soon(open(&client, "echo.test")).await.unwrap()).await;
        }
        assert_eq!(*challenges.lock().unwrap(), ["PrivateToken challenge=\"c\""]);
        // t3 and its replacement t4 are no good.
        let outcome = soon(open(&client, "echo.test")).await.map(drop);
        assert!(matches!(outcome, Err(OpenError::Unauthenticated(_))), "{outcome:?}");
        assert_eq!(challenges.lock().unwrap().len(), 2);
    }
}
