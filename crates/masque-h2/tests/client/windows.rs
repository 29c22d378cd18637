//! The receive windows: as large as flows need, and no larger; in virtual time.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response};
use pseudotcp_masque::{ByteTunnel, TunnelError};
use pseudotcp_masque_h2::Client;
use tokio::time::{Instant, sleep};

use crate::support::link::Link;
use crate::support::{Proxy, accept, builder, echo, open, send_all, serve, soon, streams, works};

const MIB: u64 = 1 << 20;

/// The windows that every connection begins with.
const FIRST: u64 = 4 * MIB;

/// 1 Gbit/s, and 100 ms there and back.
const LONG_AND_FAT: Link = Link { delay: Duration::from_millis(50), bytes_per_second: 125_000_000 };

/// `source.test` sends without end, all others echo.
async fn source_or_echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    if request.uri().host() != Some("source.test") {
        return echo(request, respond).await;
    }
    let mut send = accept(&mut respond);
    let piece = Bytes::from(vec![7; 1 << 20]);
    while send_all(&mut send, piece.clone()).await {}
}

fn source(link: Option<Link>) -> Proxy {
    Proxy::behind(link, |tls| serve(tls, streams(20_000), source_or_echo))
}

/// Reads for so long; tells how many bytes came.
async fn read_for(tunnel: &mut ByteTunnel, time: Duration) -> usize {
    let (end, mut read) = (Instant::now() + time, 0);
    while let Ok(chunk) = tokio::time::timeout_at(end, tunnel.next()).await {
        read += chunk.unwrap().unwrap().len();
    }
    read
}

/// Reads at least so many bytes.
async fn read_much(tunnel: &mut ByteTunnel, bytes: usize) {
    let mut read = 0;
    while read < bytes {
        read += soon(tunnel.next()).await.unwrap().unwrap().len();
    }
}

#[tokio::test(start_paused = true)]
async fn a_flow_fills_a_long_and_fat_link() {
    let proxy = source(Some(LONG_AND_FAT));
    let client = proxy.client();
    let mut tunnel = soon(open(&client, "source.test")).await.unwrap();
    assert_eq!(client.stats().window_bytes, FIRST);
    // Three steps, each of little more than a round trip.
    read_for(&mut tunnel, Duration::from_millis(600)).await;
    let read = read_for(&mut tunnel, Duration::from_millis(400)).await;
    assert!(read > 47_500_000, "{read} bytes of 50,000,000");
    assert_eq!(client.stats().window_bytes, 96 * MIB);
}

#[tokio::test(start_paused = true)]
async fn many_flows_that_are_slow_alone_fill_the_link_together() {
    let proxy = source(Some(LONG_AND_FAT));
    let client = Client::new(proxy.config().windows(1 << 20, 64 << 20)).unwrap();
    let opens = (0..16).map(|_| open(&client, "source.test"));
    let mut tunnels: Vec<_> = soon(join_all(opens)).await.into_iter().map(Result::unwrap).collect();
    for time in [600, 400].map(Duration::from_millis) {
        let reads = join_all(tunnels.iter_mut().map(|tunnel| read_for(tunnel, time))).await;
        let read: usize = reads.into_iter().sum();
        if time.as_millis() == 400 {
            assert!(read > 45_000_000, "{read} bytes of 50,000,000");
        }
    }
    assert!(client.stats().window_bytes > 12 * MIB, "{:?}", client.stats());
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_idle_flows_leave_the_windows_alone() {
    let proxy = source(None);
    let client = Client::new(proxy.config().flows_per_connection(20_000)).unwrap();
    let mut idle = Vec::new();
    for _ in 0..100 {
        let opens = (0..100).map(|_| open(&client, "echo.test"));
        idle.extend(soon(join_all(opens)).await.into_iter().map(Result::unwrap));
    }
    works(&mut idle[9_999]).await;
    assert_eq!((idle.len(), proxy.connections()), (10_000, 1));
    assert_eq!(client.stats().window_bytes, FIRST);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_gets_no_larger_window() {
    let proxy = source(Some(LONG_AND_FAT));
    let client = proxy.client();
    let _unread = soon(open(&client, "source.test")).await.unwrap();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(client.stats().window_bytes, FIRST);
    let received = client.stats().bytes_received;
    assert!(received > MIB && received < MIB + MIB / 8, "{received}");
}

#[tokio::test(start_paused = true)]
async fn all_windows_together_stay_within_the_budget() {
    let proxy = Proxy::behind(Some(LONG_AND_FAT), |tls| serve(tls, streams(2), source_or_echo));
    let config = proxy.config().max_connections(16).window_budget(8 * MIB);
    let client = Client::new(config).unwrap();
    let opens = (0..16).map(|_| open(&client, "source.test"));
    let mut tunnels: Vec<_> = soon(join_all(opens)).await.into_iter().map(Result::unwrap).collect();
    let time = Duration::from_millis(500);
    join_all(tunnels.iter_mut().map(|tunnel| read_for(tunnel, time))).await;
    let windows = client.stats().window_bytes;
    assert!(windows > 6 * MIB && windows <= 8 * MIB, "{windows}");
    drop(tunnels);
    drop(proxy);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(client.stats().window_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_more_room_the_flow_that_stalled_longest_makes_some() {
    let proxy = source(None);
    let config = proxy.config().windows(64 << 10, 128 << 10).max_connections(1);
    let client = Client::new(config).unwrap();
    let mut neighbour = soon(open(&client, "echo.test")).await.unwrap();
    let begin = Instant::now();
    let mut first = soon(open(&client, "source.test")).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let mut second = soon(open(&client, "source.test")).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    soon(neighbour.send(Bytes::from_static(b"ping"))).await.unwrap();
    assert!(neighbour.next().now_or_never().is_none(), "there is room");

    assert_eq!(soon(neighbour.next()).await.unwrap().unwrap(), "ping");
    assert_eq!((begin.elapsed().as_secs(), client.stats().flows_given_up), (5, 1));
    assert!(matches!(soon(first.next()).await, Some(Err(TunnelError::Reset))));
    read_much(&mut second, 1 << 20).await;
    works(&mut neighbour).await;
}

#[tokio::test(start_paused = true)]
async fn where_all_flows_stall_none_is_reset() {
    let proxy = source(None);
    let config = proxy.config().windows(64 << 10, 128 << 10).max_connections(1);
    let client = Client::new(config).unwrap();
    let opens = (0..2).map(|_| open(&client, "source.test"));
    let mut tunnels: Vec<_> = soon(join_all(opens)).await.into_iter().map(Result::unwrap).collect();
    sleep(Duration::from_mins(10)).await;
    assert_eq!(client.stats().flows_given_up, 0);
    for tunnel in &mut tunnels {
        read_much(tunnel, 1 << 20).await;
    }
}

/// Envoy drops what waits for a window when the target ends.
#[tokio::test(start_paused = true)]
async fn envoy_gets_large_windows_at_once() {
    let proxy = Proxy::in_memory(|tls| {
        serve(tls, builder(), async |request: Request<RecvStream>, mut respond| {
            let response = Response::builder().header("server", "envoy").body(()).unwrap();
            let _send = respond.send_response(response, false).unwrap();
            let mut body = request.into_body();
            while body.data().await.is_some() {}
        })
    });
    let client = proxy.client();
    for _ in 0..2 {
        let _tunnel = soon(open(&client, "a.test")).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(client.stats().window_bytes, 96 * MIB);
        proxy.cut().await;
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(proxy.connections(), 3);
}

/// A runtime of one thread runs dozens of turns of its tasks for one of the future that it was
/// started with, which is where a small program reads its flows.
#[tokio::test]
async fn a_fast_proxy_does_not_keep_its_client_from_reading() {
    let proxy = Proxy::start(|tls| serve(tls, streams(20_000), source_or_echo)).await;
    let client = proxy.client();
    let opens = (0..4).map(|_| open(&client, "source.test"));
    let _unread: Vec<_> = soon(join_all(opens)).await;
    let (mut received, mut at_once) = (0, 0);
    while received < FIRST {
        soon(tokio::task::yield_now()).await;
        let now = client.stats().bytes_received;
        at_once = at_once.max(now - received);
        received = now;
    }
    assert!(at_once < MIB, "{at_once} bytes came between two turns");
}
