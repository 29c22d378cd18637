//! What a plain use of HTTP/2's library would die of: each trap as it was met.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use futures::{Sink as _, SinkExt as _, StreamExt as _};
use pseudotcp_masque::{ByteTunnel, MAX_CHUNK};
use pseudotcp_masque_h2::Client;
use tokio::io::AsyncWriteExt as _;

use crate::support::raw::{
    self, DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, STATUS_200, USUAL_SETTINGS,
};
use crate::support::{Proxy, accept, builder, echo, open, send_all, serve, soon};

/// `flood.test` sends so many frames of this size, all others echo.
async fn flooding(frames: usize, size: usize) -> Proxy {
    Proxy::answering(move |request, mut respond| async move {
        if request.uri().host() != Some("flood.test") {
            return echo(request, respond).await;
        }
        let mut send = accept(&mut respond);
        for _ in 0..frames {
            if !send_all(&mut send, Bytes::from(vec![1; size])).await {
                return;
            }
        }
        send.send_data(Bytes::new(), true).unwrap();
        let _kept_open = request.into_body().data().await;
    })
    .await
}

/// Sends and receives again `size` bytes.
async fn round_trip(tunnel: &mut ByteTunnel, size: usize) {
    let (mut sent, mut received) = (0, 0);
    while received < size {
        if sent == received {
            let chunk = (size - sent).min(MAX_CHUNK);
            tunnel.send(Bytes::from(vec![2; chunk])).await.unwrap();
            sent += chunk;
        }
        received += tunnel.next().await.unwrap().unwrap().len();
    }
}

async fn count_to_end(mut tunnel: ByteTunnel) -> usize {
    let mut received = 0;
    while let Some(chunk) = tunnel.next().await {
        received += chunk.unwrap().len();
    }
    received
}

#[tokio::test]
async fn a_stalled_flow_of_small_frames_does_not_disturb_its_neighbour() {
    /// Together they fill no window, and would exhaust the library's budget if they waited in it.
    const FRAMES: usize = 300_000;
    const FRAME: usize = 2;
    let proxy = Proxy::start(|mut tls| async move {
        raw::begin(&mut tls, USUAL_SETTINGS).await;
        let flooded = raw::request(&mut tls).await.unwrap();
        raw::send(&mut tls, HEADERS, END_HEADERS, flooded, STATUS_200).await;
        let flood = raw::frame(DATA, 0, flooded, &[1; FRAME]).repeat(FRAMES);
        tls.write_all(&flood).await.unwrap();
        raw::send(&mut tls, DATA, END_STREAM, flooded, &[]).await;
        while let Some(frame) = raw::receive(&mut tls).await {
            match frame.kind {
                HEADERS => {
                    raw::send(&mut tls, HEADERS, END_HEADERS, frame.stream, STATUS_200).await;
                }
                DATA => raw::send(&mut tls, DATA, 0, frame.stream, &frame.payload).await,
                _ => {}
            }
        }
    })
    .await;
    let client = proxy.client();
    let stalled = soon(open(&client, "flood.test")).await.unwrap();
    let mut neighbour = soon(open(&client, "echo.test")).await.unwrap();
    for _ in 0..5 {
        soon(round_trip(&mut neighbour, 10_000)).await;
    }
    assert!(client.stats().bytes_received > (FRAMES * (FRAME + 9)) as u64);
    assert_eq!(soon(count_to_end(stalled)).await, FRAMES * FRAME);
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn a_burst_of_small_frames_is_no_attack() {
    const BURST: usize = 20_000;
    const FRAME: usize = 40;
    let proxy = Proxy::start(|mut tls| async move {
        raw::begin(&mut tls, USUAL_SETTINGS).await;
        let stream = raw::request(&mut tls).await.unwrap();
        raw::send(&mut tls, HEADERS, END_HEADERS, stream, STATUS_200).await;
        let burst = raw::frame(DATA, 0, stream, &[1; FRAME]).repeat(BURST);
        tls.write_all(&burst).await.unwrap();
        raw::send(&mut tls, DATA, END_STREAM, stream, &[]).await;
        while raw::receive(&mut tls).await.is_some() {}
    })
    .await;
    let client = Client::new(proxy.config().windows(1 << 20, 1 << 20)).unwrap();
    let tunnel = soon(open(&client, "burst.test")).await.unwrap();
    assert_eq!(soon(count_to_end(tunnel)).await, BURST * FRAME);
}

#[tokio::test]
async fn a_stalled_flow_holds_its_own_window_only() {
    let proxy = flooding(10_000, 40).await;
    let config = proxy.config().windows(64 << 10, 256 << 10);
    let client = Client::new(config).unwrap();
    let _stalled = soon(open(&client, "flood.test")).await.unwrap();
    let mut neighbour = soon(open(&client, "echo.test")).await.unwrap();
    soon(round_trip(&mut neighbour, 2_000_000)).await;
}

/// A proxy with room for 64 KiB in the whole connection, whose `stalled.test` reads nothing.
async fn narrow() -> Proxy {
    Proxy::start(|tls| {
        let mut narrow = builder();
        narrow.initial_window_size(16 << 10).initial_connection_window_size(65_535);
        serve(tls, narrow, |request, mut respond| async move {
            if request.uri().host() == Some("stalled.test") {
                let _kept_open = (accept(&mut respond), request);
                std::future::pending::<()>().await;
            } else {
                echo(request, respond).await;
            }
        })
    })
    .await
}

#[tokio::test]
async fn idle_flows_reserve_nothing() {
    let proxy = narrow().await;
    let client = proxy.client();
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut tunnel = soon(open(&client, "idle.test")).await.unwrap();
        soon(round_trip(&mut tunnel, 10_000)).await;
        idle.push(tunnel);
    }
    let mut stalled = soon(open(&client, "stalled.test")).await.unwrap();
    soon(stalled.feed(Bytes::from(vec![3; MAX_CHUNK]))).await.unwrap();
    let mut neighbour = soon(open(&client, "echo.test")).await.unwrap();
    soon(round_trip(&mut neighbour, 1_000_000)).await;
}

#[tokio::test]
async fn a_flow_that_the_proxy_does_not_read_takes_no_more() {
    let proxy = narrow().await;
    let client = proxy.client();
    let mut stalled = soon(open(&client, "stalled.test")).await.unwrap();
    let mut taken = 0;
    // The proxy's window never grows: after some turns of all tasks nothing more will come.
    let mut quiet = 0;
    while quiet < 100 {
        let ready = poll_fn(|cx| Poll::Ready(Pin::new(&mut stalled).poll_ready(cx))).await;
        if let Poll::Ready(ready) = ready {
            ready.unwrap();
            Pin::new(&mut stalled).start_send(Bytes::from(vec![4; MAX_CHUNK])).unwrap();
            taken += MAX_CHUNK;
            quiet = 0;
        } else {
            tokio::task::yield_now().await;
            quiet += 1;
        }
    }
    assert_eq!(taken, MAX_CHUNK, "one slot, and no queue behind it");
}

/// The library counts what comes late for a flow that it has forgotten, over the whole life of the
/// connection, and gives the connection up after 1,024.
#[tokio::test]
async fn late_data_for_thousands_of_dropped_flows_is_no_attack() {
    const FLOWS: usize = 3_000;
    let proxy = Proxy::start(|mut tls| async move {
        raw::begin(&mut tls, USUAL_SETTINGS).await;
        while let Some(frame) = raw::receive(&mut tls).await {
            match frame.kind {
                HEADERS => {
                    raw::send(&mut tls, HEADERS, END_HEADERS, frame.stream, STATUS_200).await;
                }
                RST_STREAM => raw::send(&mut tls, DATA, 0, frame.stream, b"too late").await,
                _ => {}
            }
        }
    })
    .await;
    let client = proxy.client();
    for _ in 0..FLOWS / 100 {
        let opens = (0..100).map(|_| open(&client, "dropped.test"));
        let tunnels = soon(futures::future::join_all(opens)).await;
        assert!(tunnels.iter().all(Result::is_ok));
    }
    soon(open(&client, "after.test")).await.unwrap();
    assert_eq!(proxy.connections(), 1);
}
