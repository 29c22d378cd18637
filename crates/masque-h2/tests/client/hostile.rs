//! A proxy that obeys the letter of HTTP/2 and not its spirit, or neither: in virtual time.

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use pseudotcp_masque::{OpenError, TunnelError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::raw::{
    self, ACK, CONTINUATION, DATA, END_HEADERS, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS,
    STATUS_200, USUAL_SETTINGS, WINDOW_UPDATE,
};
use crate::support::{Proxy, Tls, open, soon, works};

/// `SETTINGS_INITIAL_WINDOW_SIZE = 1`, `SETTINGS_MAX_CONCURRENT_STREAMS = 4096`.
const TINY_WINDOW: &[u8] = &[0, 4, 0, 0, 0, 1, 0, 3, 0, 0, 16, 0];

/// Echoes on all streams until the client goes.
async fn echo(tls: &mut Tls) {
    while let Some(frame) = raw::receive(tls).await {
        match frame.kind {
            HEADERS => raw::send(tls, HEADERS, END_HEADERS, frame.stream, STATUS_200).await,
            DATA => raw::send(tls, DATA, frame.flags, frame.stream, &frame.payload).await,
            PING if frame.flags == 0 => raw::send(tls, PING, ACK, 0, &frame.payload).await,
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn frames_before_the_settings_are_no_http2() {
    let proxy = Proxy::in_memory(|mut tls| async move {
        let mut preface = [0; 24];
        tls.read_exact(&mut preface).await.unwrap();
        // RFC 9113 §3.4: SETTINGS come first.
        raw::send(&mut tls, HEADERS, END_HEADERS, 1, STATUS_200).await;
        raw::send(&mut tls, SETTINGS, 0, 0, USUAL_SETTINGS).await;
        while raw::receive(&mut tls).await.is_some() {}
    });
    let outcome = soon(open(&proxy.client(), "x.test")).await.map(drop);
    assert!(matches!(outcome, Err(OpenError::Protocol(_))), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_window_of_one_byte_is_filled_byte_by_byte() {
    let proxy = Proxy::in_memory(|mut tls| async move {
        raw::begin(&mut tls, TINY_WINDOW).await;
        while let Some(frame) = raw::receive(&mut tls).await {
            match frame.kind {
                HEADERS => {
                    raw::send(&mut tls, HEADERS, END_HEADERS, frame.stream, STATUS_200).await;
                }
                DATA if !frame.payload.is_empty() => {
                    assert_eq!(frame.payload.len(), 1);
                    raw::send(&mut tls, WINDOW_UPDATE, 0, frame.stream, &[0, 0, 0, 1]).await;
                    raw::send(&mut tls, DATA, 0, frame.stream, &frame.payload).await;
                }
                _ => {}
            }
        }
    });
    let mut tunnel = soon(open(&proxy.client(), "tiny.test")).await.unwrap();
    let sent = Bytes::from((0..200).collect::<Vec<u8>>());
    soon(tunnel.send(sent.clone())).await.unwrap();
    let mut received = Vec::new();
    while received.len() < sent.len() {
        received.extend(soon(tunnel.next()).await.unwrap().unwrap());
    }
    assert_eq!(received, sent);
}

#[tokio::test(start_paused = true)]
async fn frames_of_one_byte_and_of_none_make_a_whole() {
    let proxy = Proxy::in_memory(|mut tls| async move {
        raw::begin(&mut tls, USUAL_SETTINGS).await;
        let stream = raw::request(&mut tls).await.unwrap();
        // `:status: 200` and `server: x`, one byte a frame.
        let fields = [STATUS_200, b"\x0f\x27\x01x"].concat();
        raw::send(&mut tls, HEADERS, 0, stream, &[]).await;
        for byte in &fields {
            raw::send(&mut tls, CONTINUATION, 0, stream, &[*byte]).await;
        }
        raw::send(&mut tls, CONTINUATION, END_HEADERS, stream, &[]).await;
        for (at, byte) in b"every byte by itself".iter().enumerate() {
            if at % 4 == 0 {
                raw::send(&mut tls, DATA, 0, stream, &[]).await;
            }
            raw::send(&mut tls, DATA, 0, stream, &[*byte]).await;
        }
        raw::send(&mut tls, DATA, raw::END_STREAM, stream, &[]).await;
        while raw::receive(&mut tls).await.is_some() {}
    });
    let mut tunnel = soon(open(&proxy.client(), "crumbs.test")).await.unwrap();
    let mut received = Vec::new();
    while let Some(chunk) = soon(tunnel.next()).await {
        received.extend(chunk.unwrap());
    }
    assert_eq!(received, b"every byte by itself");
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_resets_ends_flows_and_not_the_client() {
    let proxy = Proxy::in_memory(|mut tls| async move {
        raw::begin(&mut tls, USUAL_SETTINGS).await;
        for _ in 0..3_000 {
            let Some(stream) = raw::request(&mut tls).await else { return };
            let accepted = raw::frame(HEADERS, END_HEADERS, stream, STATUS_200);
            let reset = raw::frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
            // Again, for a stream that is closed.
            tls.write_all(&[accepted, reset.clone(), reset].concat()).await.unwrap();
            tls.flush().await.unwrap();
        }
        echo(&mut tls).await;
    });
    let client = proxy.client();
    for _ in 0..3_000 {
        let ended = match soon(open(&client, "storm.test")).await {
            Ok(mut tunnel) => soon(tunnel.next()).await.map(Result::unwrap_err),
            Err(OpenError::Protocol(_)) => continue,
            Err(error) => panic!("{error:?}"),
        };
        assert!(matches!(ended, Some(TunnelError::Reset)), "{ended:?}");
    }
    works(&mut soon(open(&client, "echo.test")).await.unwrap()).await;
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn goaway_with_an_error_ends_the_flows_and_new_ones_have_another_connection() {
    let proxy = Proxy::in_memory(|mut tls| async move {
        raw::begin(&mut tls, USUAL_SETTINGS).await;
        while let Some(frame) = raw::receive(&mut tls).await {
            if frame.kind == HEADERS {
                raw::send(&mut tls, HEADERS, END_HEADERS, frame.stream, STATUS_200).await;
            } else if frame.kind == DATA && &frame.payload[..] == b"die" {
                raw::send(&mut tls, GOAWAY, 0, 0, &raw::goaway(0, 11)).await;
                return;
            } else if frame.kind == DATA {
                raw::send(&mut tls, DATA, 0, frame.stream, &frame.payload).await;
            }
        }
    });
    let client = proxy.client();
    let mut flow = soon(open(&client, "echo.test")).await.unwrap();
    works(&mut flow).await;
    soon(flow.send(Bytes::from_static(b"die"))).await.unwrap();
    let ended = soon(flow.next()).await;
    assert!(matches!(ended, Some(Err(TunnelError::ProxyGone))), "{ended:?}");
    works(&mut soon(open(&client, "echo.test")).await.unwrap()).await;
    assert_eq!((proxy.connections(), client.stats().connections_lost), (2, 1));
}
