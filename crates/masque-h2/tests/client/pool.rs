//! Which connection a flow gets, and when there is another: in virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::raw::{
    self, ACK, DATA, END_HEADERS, HEADERS, PING, STATUS_200, USUAL_SETTINGS,
};
use crate::support::{
    Proxy, Tls, accept, builder, deadline, echo, open, send_all, serve, soon, streams, works,
};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use pseudotcp_masque::{ByteTunnel, TunnelError};
use pseudotcp_masque_h2::{Client, State};
use tokio::time::{Instant, sleep};

async fn open_many(client: &Client, count: usize) -> Vec<ByteTunnel> {
    let mut tunnels = Vec::new();
    for _ in 0..count {
        tunnels.push(soon(open(client, "echo.test")).await.unwrap());
    }
    tunnels
}

/// Lets everything that is under way come to rest.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

fn hundred_flows_each() -> Proxy {
    Proxy::in_memory(|tls| serve(tls, streams(101), echo))
}

#[tokio::test(start_paused = true)]
async fn a_spare_connection_is_dialled_before_the_last_twenty_slots_are_taken() {
    let proxy = hundred_flows_each();
    let client = proxy.client();
    let mut tunnels = open_many(&client, 80).await;
    settle().await;
    assert_eq!(proxy.connections(), 1);
    tunnels.extend(open_many(&client, 1).await);
    settle().await;
    assert_eq!(proxy.connections(), 2);
    // The spare is there when it is needed: opening it took none of these any time.
    let before = Instant::now();
    tunnels.extend(open_many(&client, 60).await);
    assert_eq!(before.elapsed(), Duration::ZERO);
    for tunnel in &mut tunnels {
        works(tunnel).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_slot_is_never_taken() {
    let proxy = Proxy::in_memory(|tls| serve(tls, streams(5), echo));
    let client = Client::new(proxy.config().max_connections(1)).unwrap();
    let _four = open_many(&client, 4).await;
    let fifth = crate::support::request("echo.test").with_deadline(deadline());
    let outcome = pseudotcp_masque::Transport::open_tcp(&client, fifth).await;
    assert!(matches!(outcome.map(drop), Err(pseudotcp_masque::OpenError::Overloaded { .. })));
}

/// Counts the flows of each connection.
fn counting(limit: u32) -> (Proxy, Arc<std::sync::Mutex<Vec<Arc<AtomicUsize>>>>) {
    let counts = Arc::<std::sync::Mutex<Vec<Arc<AtomicUsize>>>>::default();
    let shared = Arc::clone(&counts);
    let proxy = Proxy::in_memory(move |tls| {
        let count = Arc::<AtomicUsize>::default();
        shared.lock().unwrap().push(Arc::clone(&count));
        serve(tls, streams(limit), move |request, respond| {
            count.fetch_add(1, Ordering::SeqCst);
            echo(request, respond)
        })
    });
    (proxy, counts)
}

fn read(counts: &std::sync::Mutex<Vec<Arc<AtomicUsize>>>) -> Vec<usize> {
    counts.lock().unwrap().iter().map(|count| count.load(Ordering::SeqCst)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_least_loaded_connection_gets_the_next_flow() {
    let (proxy, counts) = counting(101);
    let client = proxy.client();
    let _many = open_many(&client, 81).await;
    settle().await;
    let _more = open_many(&client, 30).await;
    assert_eq!(read(&counts), [81, 30]);
}

#[tokio::test(start_paused = true)]
async fn flows_that_want_low_latency_share_with_four_others_at_most() {
    let (proxy, counts) = counting(101);
    let config = proxy.config().low_latency(|target| target.to_string() == "game.test:443");
    let client = Client::new(config).unwrap();
    let _others = open_many(&client, 5).await;
    let mut games = Vec::new();
    for _ in 0..7 {
        games.push(soon(open(&client, "game.test")).await.unwrap());
    }
    assert_eq!(read(&counts), [5, 5, 2]);
}

#[tokio::test(start_paused = true)]
async fn connections_beyond_one_close_after_use() {
    let proxy = hundred_flows_each();
    let client = proxy.client();
    let tunnels = open_many(&client, 400).await;
    assert!(proxy.connections() >= 4);
    drop(tunnels);
    settle().await;
    assert!(proxy.playing() >= 4);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(proxy.playing(), 1);
    works(&mut open_many(&client, 1).await[0]).await;
    assert_eq!(client.stats().connections_lost, 0);
}

#[tokio::test(start_paused = true)]
async fn where_stalled_flows_hold_the_window_new_flows_go_elsewhere() {
    let proxy = Proxy::in_memory(|tls| {
        serve(tls, builder(), |request, mut respond| async move {
            if request.uri().host() == Some("flood.test") {
                send_all(&mut accept(&mut respond), Bytes::from(vec![1; 1 << 20])).await;
                let _kept_open = request.into_body().data().await;
            } else {
                echo(request, respond).await;
            }
        })
    });
    let client = Client::new(proxy.config().windows(64 << 10, 150 << 10)).unwrap();
    let _stalled = soon(open(&client, "flood.test")).await.unwrap();
    settle().await;
    let _stalled_too = soon(open(&client, "flood.test")).await.unwrap();
    settle().await;
    assert_eq!(proxy.connections(), 1);
    works(&mut open_many(&client, 1).await[0]).await;
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_with_nothing_open_is_silent() {
    let proxy = hundred_flows_each();
    let client = proxy.client();
    drop(open_many(&client, 3).await);
    settle().await;
    let before = client.stats();
    sleep(Duration::from_hours(24)).await;
    assert_eq!(client.stats(), before);
    works(&mut open_many(&client, 1).await[0]).await;
    assert_eq!(proxy.connections(), 1);
}

/// Echoes, and answers PINGs while it is told to; otherwise it is as if the network were gone.
async fn echo_while(mut tls: Tls, alive: Arc<AtomicBool>) {
    raw::begin(&mut tls, USUAL_SETTINGS).await;
    while let Some(frame) = raw::receive(&mut tls).await {
        if !alive.load(Ordering::SeqCst) {
            continue;
        }
        match frame.kind {
            HEADERS => raw::send(&mut tls, HEADERS, END_HEADERS, frame.stream, STATUS_200).await,
            DATA => raw::send(&mut tls, DATA, 0, frame.stream, &frame.payload).await,
            PING => raw::send(&mut tls, PING, ACK, 0, &frame.payload).await,
            _ => {}
        }
    }
}

/// A proxy whose first connection can be made to fall silent.
fn falling_silent() -> (Proxy, Arc<AtomicBool>) {
    let alive = Arc::new(AtomicBool::new(true));
    let first = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&alive);
    let proxy = Proxy::in_memory(move |tls| {
        let always = Arc::new(AtomicBool::new(true));
        let is_first = first.swap(false, Ordering::SeqCst);
        echo_while(tls, if is_first { Arc::clone(&switch) } else { always })
    });
    (proxy, alive)
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_noticed_its_flows_are_told_and_new_ones_go_on() {
    let (proxy, alive) = falling_silent();
    let client = proxy.client();
    let mut old = open_many(&client, 1).await.remove(0);
    works(&mut old).await;
    alive.store(false, Ordering::SeqCst);
    let silent = Instant::now();
    soon(client.state().wait_for(|s| matches!(s, State::Degraded { .. }))).await.unwrap();
    assert_eq!(silent.elapsed().as_secs(), 4);
    // Already now new flows have another connection.
    works(&mut open_many(&client, 1).await[0]).await;
    assert_eq!(silent.elapsed().as_secs(), 4);
    let ended = soon(old.next()).await;
    assert!(matches!(ended, Some(Err(TunnelError::ProxyGone))), "{ended:?}");
    assert_eq!(silent.elapsed().as_secs(), 5);
    assert_eq!(*client.state().borrow(), State::Connected);
}

#[tokio::test(start_paused = true)]
async fn a_changed_network_is_probed_at_once() {
    let (proxy, alive) = falling_silent();
    let client = proxy.client();
    let mut old = open_many(&client, 1).await.remove(0);
    alive.store(false, Ordering::SeqCst);
    client.network_changed();
    let changed = Instant::now();
    works(&mut open_many(&client, 1).await[0]).await;
    assert_eq!(changed.elapsed().as_secs(), 0);
    assert!(matches!(soon(old.next()).await, Some(Err(TunnelError::ProxyGone))));
    assert_eq!(changed.elapsed().as_secs(), 2);
    assert_eq!(client.stats().connections_lost, 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_survives_a_change_of_the_network_goes_on() {
    let (proxy, _alive) = falling_silent();
    let client = proxy.client();
    let mut flow = open_many(&client, 1).await.remove(0);
    for _ in 0..3 {
        client.network_changed();
        works(&mut flow).await;
        settle().await;
    }
    assert_eq!(*client.state().borrow(), State::Connected);
    works(&mut open_many(&client, 1).await[0]).await;
    assert_eq!(client.stats().connections_lost, 0);
}

/// A dial that hangs in the old network is not waited for.
#[tokio::test(start_paused = true)]
async fn a_changed_network_begins_dials_anew() {
    let first = AtomicBool::new(true);
    let proxy = Proxy::in_memory(move |tls| {
        let hangs = first.swap(false, Ordering::SeqCst);
        async move {
            if hangs {
                let _silent = tls;
                std::future::pending::<()>().await;
            } else {
                serve(tls, builder(), echo).await;
            }
        }
    });
    let client = proxy.client();
    let begin = Instant::now();
    let opening = tokio::spawn({
        let client = client.clone();
        async move { open(&client, "echo.test").await }
    });
    sleep(Duration::from_secs(1)).await;
    client.network_changed();
    works(&mut soon(opening).await.unwrap().unwrap()).await;
    assert_eq!(begin.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hop_carries_the_connection_and_its_end_is_heard() {
    let proxy = Proxy::in_memory(|tls| serve(tls, builder(), echo));
    let client = proxy.client();
    let mut tunnel = open_many(&client, 1).await.remove(0);
    let sent = Bytes::from(vec![7; 60_000]);
    soon(tunnel.send(sent.clone())).await.unwrap();
    let mut received = Vec::new();
    while received.len() < sent.len() {
        received.extend(soon(tunnel.next()).await.unwrap().unwrap());
    }
    assert_eq!((received, client.proxy_address()), (sent.to_vec(), None));
    let _killed = proxy.kill().await;
    assert!(matches!(soon(tunnel.next()).await, Some(Err(TunnelError::ProxyGone))));
}
