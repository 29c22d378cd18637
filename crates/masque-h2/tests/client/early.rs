//! UDP flows that send before the proxy has answered.

use bytes::{Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use h2::RecvStream;
use pseudotcp_masque::datagram::{Decoder, encode};
use pseudotcp_masque::{DatagramTunnel, OpenError, Transport as _, TunnelError};
use pseudotcp_masque_h2::Client;

use crate::support::{Proxy, accept, refuse, request, soon};

/// How many datagrams may leave before the answer.
const MOST: usize = 64;

async fn open_udp(client: &Client, name: &str) -> Result<DatagramTunnel, OpenError> {
    soon(client.open_udp(request(name))).await
}

/// The payloads that have come, as soon as there are so many.
async fn hear(body: &mut RecvStream, count: usize) -> Vec<Bytes> {
    let (mut decoder, mut heard) = (Decoder::new(), Vec::new());
    while heard.len() < count {
        let mut chunk = body.data().await.unwrap().unwrap();
        body.flow_control().release_capacity(chunk.len()).unwrap();
        while let Some(payload) = decoder.decode(&mut chunk).unwrap() {
            heard.push(payload);
        }
    }
    heard
}

/// A proxy that answers only when it has heard as many datagrams as the target's name says, by the
/// status that follows in it, and sends them back if that is 200.
async fn late_proxy() -> Proxy {
    Proxy::answering(|request, mut respond| async move {
        let path = request.uri().path().to_owned();
        let name = path.split('/').nth(4).unwrap();
        let (count, status) = name.split_once('-').unwrap();
        let mut body = request.into_body();
        let heard = hear(&mut body, count.parse().unwrap()).await;
        if status != "200" {
            return refuse(respond, status.parse().unwrap(), &[]);
        }
        let mut send = accept(&mut respond);
        let mut wire = BytesMut::new();
        for payload in &heard {
            encode(payload, &mut wire);
        }
        send.send_data(wire.freeze(), false).unwrap();
        while let Some(Ok(_)) = body.data().await {}
    })
    .await
}

/// A client that knows that the proxy speaks connect-udp.
async fn sure(proxy: &Proxy) -> Client {
    let client = Client::new(proxy.config().early_datagrams()).unwrap();
    let mut tunnel = open_udp(&client, "0-200").await.unwrap();
    soon(tunnel.close()).await.unwrap();
    client
}

#[tokio::test]
async fn datagrams_leave_before_the_answer() {
    let proxy = late_proxy().await;
    let client = sure(&proxy).await;
    // Were the answer waited for, it would never come.
    let mut tunnel = open_udp(&client, "2-200").await.unwrap();
    for payload in ["one", "two"] {
        soon(tunnel.send(Bytes::from(payload))).await.unwrap();
    }
    for payload in ["one", "two"] {
        assert_eq!(soon(tunnel.next()).await.unwrap().unwrap(), payload);
    }
    assert_eq!((client.stats().flows_opened, client.stats().datagrams_dropped), (2, 0));
}

#[tokio::test]
async fn no_more_than_a_few_leave_before_the_answer() {
    let proxy = late_proxy().await;
    let client = sure(&proxy).await;
    let mut tunnel = open_udp(&client, &format!("{MOST}-200")).await.unwrap();
    for number in 0..MOST + 10 {
        soon(tunnel.send(Bytes::from(number.to_string()))).await.unwrap();
    }
    assert_eq!(client.stats().datagrams_dropped, 10);
    for number in 0..MOST {
        assert_eq!(soon(tunnel.next()).await.unwrap().unwrap(), number.to_string());
    }
}

#[tokio::test]
async fn a_refusal_ends_the_flow_and_its_datagrams() {
    let proxy = late_proxy().await;
    let client = sure(&proxy).await;
    for status in ["403", "502"] {
        let mut tunnel = open_udp(&client, &format!("1-{status}")).await.unwrap();
        soon(tunnel.send(Bytes::from("lost"))).await.unwrap();
        let end = soon(tunnel.next()).await.unwrap();
        assert!(matches!(end, Err(TunnelError::Unreachable)), "{end:?}");
        assert!(soon(tunnel.next()).await.is_none());
        soon(tunnel.send(Bytes::from("too late"))).await.unwrap_err();
    }
    assert_eq!((client.stats().flows_refused, client.stats().datagrams_dropped), (2, 2));
}

/// What is no fault of the target's is for the usual way, which knows what to do about it.
#[tokio::test]
async fn after_another_refusal_the_answer_is_waited_for() {
    let proxy = late_proxy().await;
    let client = sure(&proxy).await;
    let mut tunnel = open_udp(&client, "1-407").await.unwrap();
    soon(tunnel.send(Bytes::from("lost"))).await.unwrap();
    assert!(matches!(soon(tunnel.next()).await, Some(Err(TunnelError::Reset))));
    let refused = open_udp(&client, "0-407").await.map(drop);
    assert!(matches!(refused, Err(OpenError::Unauthenticated(_))), "{refused:?}");
}

#[tokio::test]
async fn without_the_option_nothing_leaves_before_the_answer() {
    let proxy = late_proxy().await;
    let client = proxy.client();
    open_udp(&client, "0-200").await.unwrap();
    let refused = open_udp(&client, "0-403").await.map(drop);
    assert!(matches!(refused, Err(OpenError::Denied(_))), "{refused:?}");
}

#[tokio::test]
async fn a_flow_that_is_dropped_before_the_answer_is_cancelled() {
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let proxy = Proxy::answering(move |request, mut respond| {
        let tell = tell.clone();
        async move {
            if request.uri().path().contains("/first.test/") {
                let _send = accept(&mut respond);
                let mut body = request.into_body();
                while let Some(Ok(_)) = body.data().await {}
            } else {
                let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
                tell.send(reason).await.unwrap();
            }
        }
    })
    .await;
    let client = Client::new(proxy.config().early_datagrams()).unwrap();
    let first = open_udp(&client, "first.test").await.unwrap();
    drop(open_udp(&client, "second.test").await.unwrap());
    assert_eq!(soon(told.recv()).await, Some(h2::Reason::CANCEL));
    drop(first);
}
