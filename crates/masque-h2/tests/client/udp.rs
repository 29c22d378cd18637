//! UDP flows: connect-udp over HTTP/2.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::raw::{
    self, DATA, END_HEADERS, HEADERS, STATUS_200, USUAL_SETTINGS, WINDOW_UPDATE,
};
use crate::support::{Proxy, Tls, accept, soon};
use bytes::{Bytes, BytesMut};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use http::HeaderMap;
use pseudotcp_masque::datagram::{Decoder, encode};
use pseudotcp_masque::{DatagramTunnel, OpenRequest, Transport as _, TunnelError};
use pseudotcp_masque_h2::Client;
use tokio::sync::oneshot;

async fn open_udp(client: &Client) -> DatagramTunnel {
    soon(client.open_udp(crate::support::request("udp.test"))).await.unwrap()
}

fn capsules(payloads: &[&[u8]]) -> Bytes {
    let mut wire = BytesMut::new();
    for payload in payloads {
        encode(payload, &mut wire);
    }
    wire.freeze()
}

fn payloads(wire: Vec<u8>) -> Vec<Bytes> {
    let (mut decoder, mut wire) = (Decoder::new(), Bytes::from(wire));
    std::iter::from_fn(|| decoder.decode(&mut wire).unwrap()).collect()
}

/// Plays the first UDP flow by hand, once its response is out.
async fn playing<F>(
    settings: &'static [u8],
    play: impl FnOnce(Tls, u32) -> F + Send + 'static,
) -> Proxy
where
    F: Future<Output = ()> + Send + 'static,
{
    let play = std::sync::Mutex::new(Some(play));
    Proxy::start(move |mut tls| {
        let play = play.lock().unwrap().take().expect("one connection");
        async move {
            raw::begin(&mut tls, settings).await;
            let stream = raw::request(&mut tls).await.unwrap();
            raw::send(&mut tls, HEADERS, END_HEADERS, stream, STATUS_200).await;
            play(tls, stream).await;
        }
    })
    .await
}

#[tokio::test]
async fn the_request_is_an_extended_connect_to_the_template() {
    let (tell, mut told) = tokio::sync::mpsc::channel(2);
    let proxy = Proxy::answering(move |request, respond| {
        let tell = tell.clone();
        async move {
            let protocol = request.extensions().get::<h2::ext::Protocol>().unwrap();
            let protocol = protocol.as_str().to_owned();
            let capsule_protocol = request.headers()["capsule-protocol"].clone();
            tell.send((request.uri().to_string(), protocol, capsule_protocol)).await.unwrap();
            crate::support::refuse(respond, 403, &[]);
        }
    })
    .await;
    let target = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 53));
    let templated = proxy.config().udp_template("https://relay.test/udp{?target_host,target_port}");
    for (client, uri) in [
        (
            proxy.client(),
            format!("https://{}/.well-known/masque/udp/2001%3Adb8%3A%3A1/53/", proxy.address),
        ),
        (
            Client::new(templated.unwrap()).unwrap(),
            "https://relay.test/udp?target_host=2001%3Adb8%3A%3A1&target_port=53".to_owned(),
        ),
    ] {
        let _denied = soon(client.open_udp(OpenRequest::new(target))).await;
        let (sent_uri, protocol, capsule_protocol) = told.recv().await.unwrap();
        assert_eq!(sent_uri, uri);
        assert_eq!((protocol.as_str(), capsule_protocol.as_bytes()), ("connect-udp", &b"?1"[..]));
    }
}

#[tokio::test]
async fn datagrams_that_wait_together_leave_in_one_frame() {
    let (tell, told) = oneshot::channel();
    let proxy = playing(USUAL_SETTINGS, |mut tls, stream| async move {
        loop {
            let frame = raw::receive(&mut tls).await.unwrap();
            if (frame.kind, frame.stream) == (DATA, stream) {
                tell.send(frame.payload).unwrap();
                break;
            }
        }
        while raw::receive(&mut tls).await.is_some() {}
    })
    .await;
    let mut tunnel = open_udp(&proxy.client()).await;
    for payload in [&b"one"[..], b"", b"three"] {
        soon(tunnel.feed(Bytes::copy_from_slice(payload))).await.unwrap();
    }
    soon(tunnel.flush()).await.unwrap();
    assert_eq!(payloads(soon(told).await.unwrap()), [&b"one"[..], b"", b"three"]);
}

/// No room at all in new streams (`SETTINGS_INITIAL_WINDOW_SIZE = 0`), and extended CONNECT.
const NO_WINDOW: &[u8] = &[0, 4, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1];

#[tokio::test]
async fn datagrams_do_not_wait_longer_than_they_are_worth() {
    let (open_window, window_opens) = oneshot::channel::<()>();
    let (tell, told) = oneshot::channel();
    let proxy = playing(NO_WINDOW, |mut tls, stream| async move {
        window_opens.await.unwrap();
        raw::send(&mut tls, WINDOW_UPDATE, 0, stream, &10_000_u32.to_be_bytes()).await;
        loop {
            let frame = raw::receive(&mut tls).await.unwrap();
            if (frame.kind, frame.stream) == (DATA, stream) {
                tell.send(frame.payload).unwrap();
                break;
            }
        }
        while raw::receive(&mut tls).await.is_some() {}
    })
    .await;
    let client = proxy.client();
    let mut tunnel = open_udp(&client).await;
    assert!(tunnel.send(Bytes::from_static(b"late")).now_or_never().is_none(), "no room");
    tokio::time::sleep(Duration::from_millis(60)).await;
    open_window.send(()).unwrap();
    let fresh = async {
        loop {
            soon(tunnel.send(Bytes::from_static(b"fresh"))).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let arrived = tokio::select! {
        arrived = soon(told) => payloads(arrived.unwrap()),
        () = fresh => unreachable!(),
    };
    assert!(arrived.iter().all(|payload| payload == "fresh"), "{arrived:?}");
    assert!(client.stats().datagrams_dropped >= 1);
}

/// Of datagrams of this size so many wait, which take 1 MiB with what each costs.
const LARGE: usize = 20_000;
const KEPT: u8 = 52;

#[tokio::test]
async fn of_too_many_datagrams_the_oldest_are_dropped() {
    let proxy =
        playing(
            NO_WINDOW,
            |mut tls, _| async move { while raw::receive(&mut tls).await.is_some() {} },
        )
        .await;
    let client = proxy.client();
    let mut tunnel = open_udp(&client).await;
    for number in 0..KEPT + 6 {
        soon(tunnel.feed(Bytes::from(vec![number; LARGE]))).await.unwrap();
    }
    assert_eq!(client.stats().datagrams_dropped, 6);
    let too_large = Bytes::from(vec![0; tunnel.max_datagram_size() + 1]);
    soon(tunnel.feed(too_large)).await.unwrap();
    assert_eq!(client.stats().datagrams_dropped, 7);
}

#[tokio::test]
async fn who_does_not_read_loses_the_oldest_and_stops_nobody() {
    let proxy = Proxy::answering(|request, mut respond| async move {
        let mut send = accept(&mut respond);
        for number in 0..100_u8 {
            send.send_data(capsules(&[&vec![number; LARGE]]), false).unwrap();
        }
        let _kept_open = request.into_body().data().await;
    })
    .await;
    let client = proxy.client();
    let mut tunnel = open_udp(&client).await;
    soon(async {
        while client.stats().datagrams_dropped < u64::from(100 - KEPT) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for number in 100 - KEPT..100 {
        assert_eq!(soon(tunnel.next()).await.unwrap().unwrap(), vec![number; LARGE]);
    }
    assert!(tunnel.next().now_or_never().is_none());
}

/// How a UDP flow ends at a proxy that ends it so.
async fn end_after<F>(
    end: impl Fn(h2::SendStream<Bytes>) -> F + Clone + Send + Sync + 'static,
) -> Vec<Option<TunnelError>>
where
    F: Future<Output = ()> + Send + 'static,
{
    let proxy = Proxy::answering(move |request, mut respond| {
        let end = end.clone();
        async move {
            let send = accept(&mut respond);
            let mut body = request.into_body();
            let _first = body.data().await;
            end(send).await;
            let _kept_open = body.data().await;
        }
    })
    .await;
    let client = proxy.client();
    let mut tunnel = open_udp(&client).await;
    soon(tunnel.send(Bytes::from_static(b"question"))).await.unwrap();
    let mut ends = Vec::new();
    for _ in 0..2 {
        ends.push(soon(tunnel.next()).await.map(Result::unwrap_err));
    }
    ends
}

#[tokio::test]
async fn the_end_of_a_flow_has_a_meaning() {
    let plain = end_after(|mut send| async move {
        send.send_data(Bytes::new(), true).unwrap();
    });
    assert!(matches!(plain.await[..], [None, None]));
    let trailers = end_after(|mut send| async move {
        let mut trailers = HeaderMap::new();
        trailers.insert("proxy-status", "relay; error=connection_refused".parse().unwrap());
        send.send_trailers(trailers).unwrap();
    });
    assert!(matches!(trailers.await[..], [Some(TunnelError::Unreachable), None]));
    let connect_error = end_after(|mut send| async move {
        send.send_reset(h2::Reason::CONNECT_ERROR);
    });
    assert!(matches!(connect_error.await[..], [Some(TunnelError::Unreachable), None]));
    let other_reset = end_after(|mut send| async move {
        send.send_reset(h2::Reason::INTERNAL_ERROR);
    });
    assert!(matches!(other_reset.await[..], [Some(TunnelError::Reset), None]));
}
