//! Proxies that are not what they should be: each a clear, typed outcome.

use std::error::Error as _;

use crate::support::raw::{
    self, DATA, END_HEADERS, END_STREAM, HEADERS, STATUS_200, USUAL_SETTINGS,
};
use crate::support::{Identity, Proxy, accept, deadline, echo, open, serve, soon};
use pseudotcp_masque::{OpenError, OpenRequest, Transport as _, TunnelError};
use pseudotcp_masque_h2::{Client, State, UdpDialect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The outcome of an open, and what the sources say.
async fn outcome(client: &Client) -> (OpenError, String) {
    let error = soon(open(client, "target.test")).await.map(drop).unwrap_err();
    let mut text = String::new();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &cause.to_string();
        source = cause.source();
    }
    (error, text)
}

#[tokio::test]
async fn a_proxy_that_answers_garbage() {
    let proxy = Proxy::start(|mut tls| async move {
        let _gone = tls.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\nno such thing here").await;
        let _gone = tls.flush().await;
        let _rest = tls.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let client = proxy.client();
    let (error, text) = outcome(&client).await;
    assert!(matches!(error, OpenError::Protocol(_)), "{error:?}");
    assert!(text.contains("no HTTP/2"), "{text}");
    assert!(matches!(&*client.state().borrow(), State::Failed { .. }));
}

#[tokio::test]
async fn d43_a_proxy_without_http2_is_named_so() {
    for alpn in [&[][..], &[&b"http/1.1"[..]]] {
        let any_port = ([127, 0, 0, 1], 0).into();
        let identity = Identity::new(alpn);
        let proxy = Proxy::start_at(any_port, identity, |mut tls| async move {
            let _rest = tls.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let client = Client::new(proxy.config().http2_only()).unwrap();
        let error = soon(client.ready(deadline())).await.unwrap_err();
        if alpn.is_empty() {
            assert!(matches!(error, OpenError::Protocol(_)), "{error:?}");
        }
        let State::Failed { cause } = client.state().borrow().clone() else { panic!() };
        assert!(cause.contains("HTTP/2") || cause.contains("TLS"), "{cause}");
    }
}

#[tokio::test]
async fn another_certificate_is_not_trusted() {
    let proxy = Proxy::answering(echo).await;
    let other = Identity::new(&[b"h2"]);
    let config = proxy.bare_config().pin(other.pem.as_bytes()).unwrap();
    let (error, text) = outcome(&Client::new(config).unwrap()).await;
    assert!(matches!(error, OpenError::ProxyGone(Some(_))), "{error:?}");
    assert!(text.contains("certificate"), "{text}");
}

/// Whoever sends the pinned certificate behind one of their own does not hold its key.
#[tokio::test]
async fn a_pinned_certificate_must_be_the_first_of_the_chain() {
    let genuine = Identity::new(&[b"h2"]);
    let forged = Identity::with_chain_behind(&[b"h2"], &genuine);
    let any_port = ([127, 0, 0, 1], 0).into();
    let proxy =
        Proxy::start_at(any_port, forged, |tls| serve(tls, crate::support::builder(), echo)).await;
    let config = proxy.bare_config().pin(genuine.pem.as_bytes()).unwrap();
    let (error, _) = outcome(&Client::new(config).unwrap()).await;
    assert!(matches!(error, OpenError::ProxyGone(Some(_))), "{error:?}");
}

#[tokio::test]
async fn a_self_signed_certificate_passes_as_extra_authority_or_unverified() {
    let proxy = Proxy::answering(echo).await;
    let trusting = proxy.config().extra_ca(proxy.identity.pem.as_bytes()).unwrap();
    for config in [trusting, proxy.config().insecure()] {
        soon(open(&Client::new(config).unwrap(), "echo.test")).await.unwrap();
    }
    let named = proxy.config().extra_ca(proxy.identity.pem.as_bytes()).unwrap();
    let client = Client::new(named.server_name("other.test").unwrap()).unwrap();
    let (error, text) = outcome(&client).await;
    assert!(matches!(error, OpenError::ProxyGone(Some(_))), "{error:?}");
    assert!(text.contains("certificate"), "{text}");
}

#[tokio::test]
async fn a_proxy_that_accepts_and_says_nothing_costs_the_deadline() {
    let proxy = Proxy::start(|mut tls| async move {
        let _rest = tls.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let client = proxy.client();
    let soon_over =
        (tokio::time::Instant::now() + std::time::Duration::from_millis(100)).into_std();
    let error = soon(client.ready(soon_over)).await.unwrap_err();
    assert!(matches!(error, OpenError::ProxyGone(_)), "{error:?}");
}

#[tokio::test]
async fn connect_udp_is_not_sent_where_it_is_not_offered() {
    let proxy = Proxy::start(|mut tls| async move {
        raw::begin(&mut tls, &[]).await;
        assert!(raw::request(&mut tls).await.is_none(), "a request was sent");
    })
    .await;
    let config = proxy.config().udp_dialect(UdpDialect::Rfc9298);
    let client = Client::new(config).unwrap();
    let request = OpenRequest::new(std::net::SocketAddr::from(([192, 0, 2, 1], 53)));
    let error = soon(client.open_udp(request)).await.map(drop).unwrap_err();
    assert!(matches!(&error, OpenError::Protocol(e) if e.to_string().contains("connect-udp")));
}

/// A raw proxy that opens one UDP flow, sends this body and then acts.
async fn udp_after(body: &'static [u8], end: bool) -> Option<Result<bytes::Bytes, TunnelError>> {
    let proxy = Proxy::start(move |mut tls| async move {
        raw::begin(&mut tls, USUAL_SETTINGS).await;
        let stream = raw::request(&mut tls).await.unwrap();
        raw::send(&mut tls, HEADERS, END_HEADERS, stream, STATUS_200).await;
        for byte in body {
            raw::send(&mut tls, DATA, 0, stream, &[*byte]).await;
        }
        if end {
            raw::send(&mut tls, DATA, END_STREAM, stream, &[]).await;
        }
        while raw::receive(&mut tls).await.is_some() {}
    })
    .await;
    let client = proxy.client();
    let mut tunnel = soon(client.open_udp(crate::support::request("udp.test"))).await.unwrap();
    soon(futures::StreamExt::next(&mut tunnel)).await
}

#[tokio::test]
async fn capsules_that_are_cut_or_malformed_end_the_flow() {
    let ended = udp_after(b"\x00\x05\x00ab", true).await;
    assert!(matches!(ended, Some(Err(TunnelError::Protocol(_)))), "{ended:?}");
    let without_context = udp_after(b"\x00\x00", false).await;
    assert!(matches!(without_context, Some(Err(TunnelError::Protocol(_)))), "{without_context:?}");
}

#[tokio::test]
async fn d40_capsules_cut_at_every_byte_arrive_whole() {
    // An unknown capsule, an unknown context and a datagram, one byte a frame.
    let arrived = udp_after(b"\x17\x02xy\x00\x02\x02z\x00\x04\x00abc", false).await;
    assert_eq!(arrived.unwrap().unwrap(), "abc");
}

/// Whatever stands where capsules should, and however it is cut: the flow ends or goes on, the next
/// one works, and nothing is kept without bound.
#[tokio::test(start_paused = true)]
async fn garbage_in_place_of_capsules_harms_one_flow_at_the_most() {
    let seed = std::env::var("PSEUDOTCP_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut random: u64 = seed.unwrap_or(0x5eed_cafe);
    println!("PSEUDOTCP_SEED={random}");
    let mut next = move || {
        // A linear congruential generator (Knuth's MMIX).
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        random.to_be_bytes()[0]
    };
    let garbage: Vec<Vec<u8>> =
        (0..200).map(|_| (0..=next() % 60).map(|_| next()).collect()).collect();
    let rounds = garbage.len();
    let proxy = Proxy::in_memory(move |mut tls| {
        let mut garbage = garbage.clone().into_iter();
        async move {
            raw::begin(&mut tls, USUAL_SETTINGS).await;
            while let Some(frame) = raw::receive(&mut tls).await {
                if frame.kind == HEADERS {
                    raw::send(&mut tls, HEADERS, END_HEADERS, frame.stream, STATUS_200).await;
                    let bytes = garbage.next().unwrap_or_else(|| b"\x00\x04\x00abc".to_vec());
                    let (first, second) = bytes.split_at(bytes.len() / 2);
                    raw::send(&mut tls, DATA, 0, frame.stream, first).await;
                    raw::send(&mut tls, DATA, END_STREAM, frame.stream, second).await;
                }
            }
        }
    });
    let client = proxy.client();
    for _ in 0..rounds {
        let mut tunnel = soon(client.open_udp(crate::support::request("udp.test"))).await.unwrap();
        while let Some(Ok(_)) = soon(futures::StreamExt::next(&mut tunnel)).await {}
    }
    let mut tunnel = soon(client.open_udp(crate::support::request("udp.test"))).await.unwrap();
    assert_eq!(soon(futures::StreamExt::next(&mut tunnel)).await.unwrap().unwrap(), "abc");
    assert_eq!((proxy.connections(), client.stats().connections_lost), (1, 0));
}

#[tokio::test]
async fn a_connection_that_breaks_midway_ends_all_its_flows() {
    let proxy = Proxy::start(|mut tls| async move {
        raw::begin(&mut tls, USUAL_SETTINGS).await;
        for _ in 0..2 {
            let stream = raw::request(&mut tls).await.unwrap();
            raw::send(&mut tls, HEADERS, END_HEADERS, stream, STATUS_200).await;
        }
        // A DATA frame on a stream that was never opened: HTTP/2 gives the connection up.
        raw::send(&mut tls, DATA, 0, 9_999, b"?").await;
        while raw::receive(&mut tls).await.is_some() {}
    })
    .await;
    let client = proxy.client();
    let mut first = soon(open(&client, "one.test")).await.unwrap();
    let mut second = soon(open(&client, "two.test")).await.unwrap();
    for tunnel in [&mut first, &mut second] {
        let ended = soon(futures::StreamExt::next(tunnel)).await;
        assert!(matches!(ended, Some(Err(TunnelError::ProxyGone))), "{ended:?}");
    }
}

#[tokio::test]
async fn d41_bytes_right_behind_the_response_are_not_lost() {
    let proxy = Proxy::answering(|request, mut respond| async move {
        let mut send = accept(&mut respond);
        send.send_data(bytes::Bytes::from_static(b"at once"), true).unwrap();
        let _kept_open = request.into_body().data().await;
    })
    .await;
    let client = proxy.client();
    let mut tunnel = soon(open(&client, "eager.test")).await.unwrap();
    let first = soon(futures::StreamExt::next(&mut tunnel)).await;
    assert_eq!(first.unwrap().unwrap(), "at once");
}

#[tokio::test]
async fn a_head_without_end_is_not_read_for_ever() {
    let proxy = Proxy::start(|mut tls| async move {
        raw::begin(&mut tls, USUAL_SETTINGS).await;
        let stream = raw::request(&mut tls).await.unwrap();
        raw::send(&mut tls, HEADERS, 0, stream, STATUS_200).await;
        // `x: ` and 1,000 letters, as a literal that is never indexed.
        let field = [&[0x10, 1, b'x', 0x7f, 0xe9, 6][..], &[b'a'; 1_000]].concat();
        let field = raw::frame(raw::CONTINUATION, 0, stream, &field);
        while tls.write_all(&field).await.is_ok() {}
    })
    .await;
    let client = proxy.client();
    let (error, _) = outcome(&client).await;
    assert!(matches!(error, OpenError::ProxyGone(_) | OpenError::Protocol(_)), "{error:?}");
    assert!(client.stats().bytes_received < 4 << 20, "{:?}", client.stats());
}
