//! TCP flows through a well-behaved proxy.

use crate::support::{Proxy, accept, echo, open, refuse, send_all, soon};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use pseudotcp_masque::{AbortCode, MAX_CHUNK, OpenError, TunnelError};
use pseudotcp_masque_h2::State;

#[tokio::test]
async fn bytes_go_there_and_back() {
    let proxy = Proxy::answering(echo).await;
    let client = proxy.client();
    let mut tunnel = soon(open(&client, "echo.test")).await.unwrap();
    for size in [1, 1_400, 16_375, 16_376, MAX_CHUNK] {
        let sent = Bytes::from(vec![7; size]);
        soon(tunnel.send(sent.clone())).await.unwrap();
        let mut received = Vec::new();
        while received.len() < size {
            received.extend_from_slice(&soon(tunnel.next()).await.unwrap().unwrap());
        }
        assert_eq!(received, sent);
    }
    assert_eq!(client.proxy_address(), Some(proxy.address));
    assert_eq!(*client.state().borrow(), State::Connected);
    assert_eq!((client.stats().connections_opened, client.stats().flows_opened), (1, 1));
}

#[tokio::test]
async fn d47_close_ends_one_direction_only() {
    let proxy = Proxy::answering(|request, mut respond| async move {
        let mut send = accept(&mut respond);
        let mut recv = request.into_body();
        let mut received = 0;
        while let Some(chunk) = recv.data().await {
            // An error here would be a reset in place of the end.
            received += chunk.unwrap().len();
        }
        assert!(send_all(&mut send, Bytes::from(format!("received {received}"))).await);
        send.send_data(Bytes::new(), true).unwrap();
    })
    .await;
    let client = proxy.client();
    let mut tunnel = soon(open(&client, "half.test")).await.unwrap();
    soon(tunnel.send(Bytes::from_static(b"request"))).await.unwrap();
    soon(tunnel.close()).await.unwrap();
    assert_eq!(soon(tunnel.next()).await.unwrap().unwrap(), "received 7");
    assert!(soon(tunnel.next()).await.is_none());
}

#[tokio::test]
async fn a_reset_after_data_is_told_after_the_data() {
    let proxy = Proxy::answering(|request, mut respond| async move {
        let mut send = accept(&mut respond);
        send.send_data(Bytes::from_static(b"part"), false).unwrap();
        // Once the client has answered the data, the reset cannot overtake it.
        let _answer = request.into_body().data().await;
        send.send_reset(h2::Reason::CONNECT_ERROR);
    })
    .await;
    let client = proxy.client();
    let mut tunnel = soon(open(&client, "reset.test")).await.unwrap();
    assert_eq!(soon(tunnel.next()).await.unwrap().unwrap(), "part");
    soon(tunnel.send(Bytes::from_static(b"go on"))).await.unwrap();
    assert!(matches!(soon(tunnel.next()).await, Some(Err(TunnelError::Reset))));
    assert!(soon(tunnel.next()).await.is_none());
    let late = soon(async {
        tunnel.feed(Bytes::from_static(b"late")).await?;
        tunnel.flush().await
    });
    assert!(matches!(late.await, Err(TunnelError::Reset)));
}

#[tokio::test]
async fn a_reset_without_error_after_the_end_is_a_clean_end() {
    let proxy = Proxy::answering(|_request, mut respond| async move {
        let mut send = accept(&mut respond);
        assert!(send_all(&mut send, Bytes::from(vec![1; 300_000])).await);
        // The request's body is dropped unread, so that RST_STREAM(NO_ERROR) follows.
        send.send_data(Bytes::new(), true).unwrap();
    })
    .await;
    let client = proxy.client();
    let mut tunnel = soon(open(&client, "full.test")).await.unwrap();
    let mut received = 0;
    while let Some(chunk) = soon(tunnel.next()).await {
        received += chunk.unwrap().len();
    }
    assert_eq!(received, 300_000);
    soon(tunnel.close()).await.unwrap();
}

/// What the proxy hears of the end of a flow.
async fn heard(end: impl FnOnce(pseudotcp_masque::ByteTunnel)) -> Option<h2::Reason> {
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let proxy = Proxy::answering(move |request, mut respond| {
        let tell = tell.clone();
        async move {
            let _send = accept(&mut respond);
            let mut recv = request.into_body();
            let reason = loop {
                match recv.data().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error.reason(),
                    None => break None,
                }
            };
            tell.send(reason).await.unwrap();
        }
    })
    .await;
    let client = proxy.client();
    let mut tunnel = soon(open(&client, "end.test")).await.unwrap();
    soon(tunnel.send(Bytes::from_static(b"x"))).await.unwrap();
    end(tunnel);
    soon(told.recv()).await.unwrap()
}

#[tokio::test]
async fn an_abort_says_why() {
    let aborted = |code| {
        heard(move |mut tunnel| {
            tunnel.abort(code);
            drop(tunnel);
        })
    };
    assert_eq!(aborted(AbortCode::ConnectError).await, Some(h2::Reason::CONNECT_ERROR));
    assert_eq!(aborted(AbortCode::Cancel).await, Some(h2::Reason::CANCEL));
}

#[tokio::test]
async fn a_dropped_tunnel_is_cancelled() {
    assert_eq!(heard(drop).await, Some(h2::Reason::CANCEL));
}

#[tokio::test]
async fn a_dropped_open_is_cancelled() {
    let (tell, mut told) = tokio::sync::mpsc::channel(2);
    let proxy = Proxy::answering(move |request, respond| {
        let tell = tell.clone();
        async move {
            tell.send(None).await.unwrap();
            let error = request.into_body().data().await.unwrap().unwrap_err();
            tell.send(error.reason()).await.unwrap();
            drop(respond);
        }
    })
    .await;
    let client = proxy.client();
    let opening = tokio::spawn({
        let client = client.clone();
        async move { open(&client, "slow.test").await.map(drop) }
    });
    assert_eq!(soon(told.recv()).await, Some(None));
    opening.abort();
    assert_eq!(soon(told.recv()).await, Some(Some(h2::Reason::CANCEL)));
}

#[tokio::test]
async fn d39_only_a_2xx_opens_the_flow() {
    let proxy = Proxy::answering(|request, respond| async move {
        let name = request.uri().host().unwrap().to_owned();
        match name.as_str() {
            "refused.test" => {
                let status = ("proxy-status", "relay; error=connection_refused");
                refuse(respond, 502, &[status]);
            }
            "later.test" => refuse(respond, 503, &[("retry-after", "7")]),
            _ => refuse(respond, name.split('.').next().unwrap().parse().unwrap(), &[]),
        }
    })
    .await;
    let client = proxy.client();
    let outcome = async |name: &str| soon(open(&client, name)).await.map(drop).unwrap_err();
    assert!(matches!(outcome("407.test").await, OpenError::Unauthenticated(_)));
    assert!(matches!(outcome("401.test").await, OpenError::Unauthenticated(_)));
    assert!(matches!(outcome("403.test").await, OpenError::Denied(_)));
    assert!(
        matches!(outcome("502.test").await, OpenError::ConnectFailed(Some(said)) if said.status() == 502)
    );
    assert!(
        matches!(outcome("503.test").await, OpenError::ConnectFailed(Some(said)) if said.status() == 503)
    );
    assert!(matches!(outcome("504.test").await, OpenError::TimedOut(_)));
    assert!(matches!(outcome("302.test").await, OpenError::Protocol(_)));
    assert!(matches!(outcome("refused.test").await, OpenError::Refused(_)));
    let overloaded = outcome("later.test").await;
    let seven = std::time::Duration::from_secs(7);
    assert!(matches!(overloaded, OpenError::Overloaded { retry_after: Some(d), .. } if d == seven));
    assert_eq!(client.stats().flows_refused, 9);
}

#[tokio::test]
async fn a_proxy_that_never_answers_costs_the_deadline() {
    let proxy = Proxy::answering(|request, respond| async move {
        let _kept_open = (request, respond);
        std::future::pending::<()>().await;
    })
    .await;
    let client = proxy.client();
    soon(client.ready(crate::support::deadline())).await.unwrap();
    let short = std::time::Duration::from_millis(50);
    let deadline = (tokio::time::Instant::now() + short).into_std();
    let request = crate::support::request("silent.test").with_deadline(deadline);
    let outcome = soon(pseudotcp_masque::Transport::open_tcp(&client, request)).await;
    assert!(matches!(outcome.map(drop), Err(OpenError::TimedOut(_))));
}

/// Flows, their driver and the proxy on different threads; some flows end in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_flows_on_many_threads() {
    let proxy = Proxy::answering(echo).await;
    let client = proxy.client();
    let mut flows = tokio::task::JoinSet::new();
    for number in 0..1_000_usize {
        let client = client.clone();
        flows.spawn(async move {
            let tunnel = open(&client, "echo.test").await.unwrap();
            let (mut sink, mut stream) = tunnel.split();
            let size = 1 + number * 37 % 50_000;
            let sent = Bytes::from(vec![number.to_le_bytes()[0]; size]);
            let send = async {
                sink.send(sent.clone()).await.unwrap();
                sink.close().await.unwrap();
            };
            let receive = async {
                let mut received = Vec::new();
                while let Some(chunk) = stream.next().await {
                    received.extend_from_slice(&chunk.unwrap());
                    if number % 10 == 9 && received.len() > size / 2 {
                        return;
                    }
                }
                assert_eq!(received, sent);
            };
            tokio::join!(send, receive);
        });
    }
    while let Some(flow) = soon(flows.join_next()).await {
        flow.unwrap();
    }
    assert_eq!(client.stats().flows_opened, 1_000);
}
