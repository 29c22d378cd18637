//! Connections that fill, drain, break and return.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::raw::{
    self, ACK, DATA, END_HEADERS, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, STATUS_200,
    USUAL_SETTINGS,
};
use crate::support::{Proxy, builder, deadline, echo, open, serve, soon, streams, works};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;
use pseudotcp_masque::{OpenError, Transport as _, TunnelError};
use pseudotcp_masque_h2::{Client, Config, State};

async fn state_becomes(client: &Client, wanted: impl FnMut(&State) -> bool) {
    soon(client.state().wait_for(wanted)).await.unwrap();
}

#[tokio::test]
async fn a_killed_proxy_ends_its_flows_and_serves_again_within_a_second() {
    let proxy = Proxy::answering(echo).await;
    let client = proxy.client();
    let mut tunnels = Vec::new();
    for _ in 0..10 {
        tunnels.push(soon(open(&client, "echo.test")).await.unwrap());
    }
    let (address, identity) = proxy.kill().await;
    for tunnel in &mut tunnels {
        let ended = soon(tunnel.next()).await;
        assert!(matches!(ended, Some(Err(TunnelError::ProxyGone))), "{ended:?}");
    }
    state_becomes(&client, |state| *state == State::Reconnecting).await;
    assert_eq!(client.stats().connections_lost, 1);
    // A flow that waits keeps the client dialling, with longer and longer pauses.
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { open(&client, "echo.test").await }
    });
    while client.stats().dials_failed < 5 {
        tokio::task::yield_now().await;
    }
    let serve_again = |tls| serve(tls, builder(), echo);
    let _proxy = Proxy::start_at(address, identity, serve_again).await;
    let returned = tokio::time::Instant::now();
    works(&mut soon(waiting).await.unwrap().unwrap()).await;
    works(&mut soon(open(&client, "echo.test")).await.unwrap()).await;
    assert!(returned.elapsed() < Duration::from_secs(1), "{:?}", returned.elapsed());
    assert_eq!(*client.state().borrow(), State::Connected);
}

#[tokio::test]
async fn an_absent_proxy_costs_the_deadline_and_says_why() {
    let proxy = Proxy::answering(echo).await;
    let client = proxy.client();
    let _gone = proxy.kill().await;
    let soon_over = (tokio::time::Instant::now() + Duration::from_millis(200)).into_std();
    let error = soon(client.ready(soon_over)).await.unwrap_err();
    let OpenError::ProxyGone(Some(cause)) = error else { panic!("{error:?}") };
    assert!(cause.to_string().contains("cannot connect"), "{cause}");
}

/// The pool is open to all while one of them dials.
#[tokio::test]
async fn d44_nothing_waits_for_a_dial_but_what_needs_it() {
    // The first connection takes one flow, the second never gets through its handshake.
    let connections = Arc::new(AtomicUsize::new(0));
    let proxy = Proxy::start(move |tls| {
        let first = connections.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                serve(tls, streams(1), echo).await;
            } else {
                let _silent = tls;
                std::future::pending::<()>().await;
            }
        }
    })
    .await;
    let client = proxy.client();
    let mut first = soon(open(&client, "echo.test")).await.unwrap();
    let second = tokio::spawn({
        let client = client.clone();
        async move { open(&client, "echo.test").await }
    });
    while proxy.connections() < 2 {
        tokio::task::yield_now().await;
    }
    works(&mut first).await;
    // The room that the first flow leaves serves the one that waits.
    drop(first);
    works(&mut soon(second).await.unwrap().unwrap()).await;
}

#[tokio::test]
async fn d45_a_full_connection_is_joined_by_another() {
    let proxy = Proxy::start(|tls| serve(tls, streams(10), echo)).await;
    let client = proxy.client();
    let opened = soon(join_all((0..45).map(|_| open(&client, "echo.test")))).await;
    let mut tunnels: Vec<_> = opened.into_iter().map(Result::unwrap).collect();
    for tunnel in &mut tunnels {
        works(tunnel).await;
    }
    assert!((5..=8).contains(&proxy.connections()), "{}", proxy.connections());
    // As many come and go again and again, without another connection.
    let before = proxy.connections();
    for _ in 0..3 {
        tunnels.clear();
        let opened = soon(join_all((0..45).map(|_| open(&client, "echo.test")))).await;
        tunnels = opened.into_iter().map(Result::unwrap).collect();
    }
    assert_eq!(proxy.connections(), before);
}

#[tokio::test]
async fn the_number_of_connections_is_bounded() {
    // Three each, the last of which is never taken.
    let proxy = Proxy::start(|tls| serve(tls, streams(3), echo)).await;
    let client = Client::new(proxy.config().max_connections(2)).unwrap();
    let opened = soon(join_all((0..4).map(|_| open(&client, "echo.test")))).await;
    let tunnels: Vec<_> = opened.into_iter().map(Result::unwrap).collect();
    let soon_over = (tokio::time::Instant::now() + Duration::from_millis(50)).into_std();
    let too_many = client.open_tcp(crate::support::request("echo.test").with_deadline(soon_over));
    let error = soon(too_many).await.map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Overloaded { retry_after: None, .. }), "{error:?}");
    let fifth = tokio::spawn({
        let client = client.clone();
        async move { open(&client, "echo.test").await }
    });
    tokio::task::yield_now().await;
    drop(tunnels);
    works(&mut soon(fifth).await.unwrap().unwrap()).await;
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn after_goaway_flows_go_on_and_new_ones_go_elsewhere() {
    let proxy = Proxy::start(|tls| async move {
        let mut connection = builder().handshake::<_, Bytes>(tls).await.unwrap();
        let mut streams = tokio::task::JoinSet::new();
        while let Some(Ok((request, respond))) = connection.accept().await {
            if request.uri().host() == Some("last.test") {
                connection.graceful_shutdown();
            }
            streams.spawn(echo(request, respond));
        }
        streams.join_all().await;
    })
    .await;
    let client = proxy.client();
    let mut old = soon(open(&client, "last.test")).await.unwrap();
    works(&mut old).await;
    for _ in 0..3 {
        works(&mut soon(open(&client, "echo.test")).await.unwrap()).await;
    }
    works(&mut old).await;
    assert_eq!(proxy.connections(), 2);
    assert_eq!(client.stats().connections_lost, 0);
}

/// Plays `first` on the first connection, and echoes on all others.
async fn stumbling<F>(
    first: impl Fn(crate::support::Tls) -> F + Clone + Send + Sync + 'static,
) -> Proxy
where
    F: Future<Output = ()> + Send + 'static,
{
    let connections = Arc::new(AtomicUsize::new(0));
    Proxy::start(move |tls| {
        let is_first = connections.fetch_add(1, Ordering::SeqCst) == 0;
        let first = first.clone();
        async move {
            if is_first {
                first(tls).await;
            } else {
                serve(tls, builder(), echo).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn streams_that_goaway_leaves_out_are_opened_elsewhere() {
    let proxy = stumbling(|mut tls| async move {
        raw::begin(&mut tls, USUAL_SETTINGS).await;
        let kept = raw::request(&mut tls).await.unwrap();
        raw::send(&mut tls, HEADERS, END_HEADERS, kept, STATUS_200).await;
        let _left_out = raw::request(&mut tls).await.unwrap();
        raw::send(&mut tls, GOAWAY, 0, 0, &raw::goaway(kept, 0)).await;
        raw::send(&mut tls, DATA, 0, kept, b"still here").await;
        while raw::receive(&mut tls).await.is_some() {}
    })
    .await;
    let client = proxy.client();
    let mut kept = soon(open(&client, "kept.test")).await.unwrap();
    let mut moved = soon(open(&client, "moved.test")).await.unwrap();
    works(&mut moved).await;
    assert_eq!(soon(kept.next()).await.unwrap().unwrap(), "still here");
    assert_eq!(client.stats().opens_retried, 1);
}

#[tokio::test]
async fn d46_a_refused_stream_is_opened_elsewhere() {
    let proxy = stumbling(|mut tls| async move {
        raw::begin(&mut tls, USUAL_SETTINGS).await;
        while let Some(stream) = raw::request(&mut tls).await {
            raw::send(&mut tls, RST_STREAM, 0, stream, &7_u32.to_be_bytes()).await;
        }
    })
    .await;
    let client = proxy.client();
    works(&mut soon(open(&client, "echo.test")).await.unwrap()).await;
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn d48_a_connection_that_went_stale_costs_no_flow() {
    let proxy = stumbling(|mut tls| async move {
        raw::begin(&mut tls, USUAL_SETTINGS).await;
        // Closed the moment it is to be used.
        let _request = raw::request(&mut tls).await;
    })
    .await;
    let client = proxy.client();
    soon(client.ready(deadline())).await.unwrap();
    works(&mut soon(open(&client, "echo.test")).await.unwrap()).await;
}

#[tokio::test]
async fn a_connection_without_flows_may_end_and_is_not_missed() {
    let proxy = stumbling(|mut tls| async move {
        raw::begin(&mut tls, USUAL_SETTINGS).await;
        let acknowledges = |frame: &raw::Frame| (frame.kind, frame.flags) == (SETTINGS, ACK);
        while !acknowledges(&raw::receive(&mut tls).await.unwrap()) {}
    })
    .await;
    let client = proxy.client();
    soon(client.ready(deadline())).await.unwrap();
    state_becomes(&client, |state| *state == State::Idle).await;
    assert_eq!(client.stats().connections_lost, 0);
    works(&mut soon(open(&client, "echo.test")).await.unwrap()).await;
}

#[tokio::test]
async fn a_connection_that_answers_no_ping_is_replaced() {
    let proxy = stumbling(|mut tls| async move {
        raw::begin(&mut tls, USUAL_SETTINGS).await;
        let stream = raw::request(&mut tls).await.unwrap();
        raw::send(&mut tls, HEADERS, END_HEADERS, stream, STATUS_200).await;
        while raw::receive(&mut tls).await.is_some() {}
    })
    .await;
    let short = Duration::from_millis(50);
    let client = Client::new(proxy.config().liveness(short, short)).unwrap();
    let mut dead = soon(open(&client, "dead.test")).await.unwrap();
    assert!(matches!(soon(dead.next()).await, Some(Err(TunnelError::ProxyGone))));
    works(&mut soon(open(&client, "echo.test")).await.unwrap()).await;
}

#[tokio::test]
async fn a_connection_that_answers_pings_stays() {
    let pings = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&pings);
    let proxy = Proxy::start(move |mut tls| {
        let pings = Arc::clone(&counted);
        async move {
            raw::begin(&mut tls, USUAL_SETTINGS).await;
            while let Some(frame) = raw::receive(&mut tls).await {
                match frame.kind {
                    HEADERS => {
                        raw::send(&mut tls, HEADERS, END_HEADERS, frame.stream, STATUS_200).await;
                    }
                    PING => {
                        pings.fetch_add(1, Ordering::SeqCst);
                        raw::send(&mut tls, PING, ACK, 0, &frame.payload).await;
                    }
                    DATA => raw::send(&mut tls, DATA, 0, frame.stream, &frame.payload).await,
                    _ => {}
                }
            }
        }
    })
    .await;
    let (silence, answer) = (Duration::from_millis(20), Duration::from_secs(5));
    let client = Client::new(proxy.config().liveness(silence, answer)).unwrap();
    let mut tunnel = soon(open(&client, "quiet.test")).await.unwrap();
    soon(async {
        while pings.load(Ordering::SeqCst) < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    works(&mut tunnel).await;
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn the_hook_sees_each_socket_before_it_connects() {
    let proxy = Proxy::answering(echo).await;
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let config = proxy.config().protect(move |fd| {
        let socket = socket2::SockRef::from(&fd);
        assert!(socket.peer_addr().is_err(), "connected already");
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    soon(Client::new(config).unwrap().ready(deadline())).await.unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 1);

    let refusing = proxy.config().protect(|_| Err(std::io::Error::other("no way out")));
    let client = Client::new(refusing).unwrap();
    let soon_over = (tokio::time::Instant::now() + Duration::from_millis(50)).into_std();
    let error = soon(client.ready(soon_over)).await.unwrap_err();
    let OpenError::ProxyGone(Some(cause)) = error else { panic!("{error:?}") };
    assert!(cause.to_string().contains("no way out"), "{cause}");
}

#[tokio::test]
async fn connections_close_with_the_last_client_and_the_last_flow() {
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let proxy = Proxy::start(move |tls| {
        let tell = tell.clone();
        async move {
            serve(tls, builder(), echo).await;
            tell.send(()).await.unwrap();
        }
    })
    .await;
    let client = proxy.client();
    let mut tunnel = soon(open(&client, "echo.test")).await.unwrap();
    drop(client);
    works(&mut tunnel).await;
    assert!(told.try_recv().is_err());
    drop(tunnel);
    soon(told.recv()).await.unwrap();
}

#[tokio::test]
async fn a_name_may_be_looked_up_or_known() {
    let proxy = Proxy::answering(echo).await;
    let port = proxy.address.port();
    let named = |host| {
        let config = Config::new(&format!("https://{host}:{port}")).unwrap();
        config.pin(proxy.identity.pem.as_bytes()).unwrap()
    };
    let known = named("proxy.invalid").addresses([proxy.address.ip()]);
    for config in [named("localhost"), known] {
        let client = Client::new(config).unwrap();
        works(&mut soon(open(&client, "echo.test")).await.unwrap()).await;
    }
    // Nobody listens at the first address; the second serves.
    let second = named("proxy.invalid").addresses([[127, 0, 0, 2].into(), proxy.address.ip()]);
    let client = Client::new(second).unwrap();
    works(&mut soon(open(&client, "echo.test")).await.unwrap()).await;
    assert_eq!(client.proxy_address(), Some(proxy.address));
}
