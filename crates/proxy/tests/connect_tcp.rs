//! connect-tcp: the same TCP tunnels, in capsules that tell an end from a truncation.

mod common;

use std::io::ErrorKind;

use bytes::Bytes;
use common::{Client, Proxy, Tunnel, config, echo, listen, pattern, soon};
use h2::Reason;
use pseudotcp_masque::bytestream::{Decoder, END, data_head};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connect-tcp tunnel that speaks bytes.
struct Capsules {
    tunnel: Tunnel,
    decoder: Decoder,
    chunk: Bytes,
}

impl Capsules {
    async fn open(client: &mut Client, port: u16) -> Self {
        let answer = client.connect_tcp("127.0.0.1", port).await;
        assert_eq!(answer.head.headers()["capsule-protocol"], "?1");
        Self { tunnel: answer.open(), decoder: Decoder::new(), chunk: Bytes::new() }
    }

    async fn write(&mut self, bytes: &[u8]) {
        let head = data_head(u32::try_from(bytes.len()).unwrap());
        soon(self.tunnel.write([&head[..], bytes].concat().into())).await.unwrap();
    }

    /// The next bytes; `None` behind `FINAL_DATA`.
    async fn read(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.decoder.decode(&mut self.chunk).unwrap() {
                return Some(bytes);
            }
            if self.decoder.is_finished() {
                return None;
            }
            self.chunk = soon(self.tunnel.read()).await.expect("more to come").unwrap();
        }
    }

    async fn read_to_end(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(bytes) = self.read().await {
            all.extend(bytes);
        }
        all
    }
}

/// A tunnel to a target, and the target's end of it.
async fn pair(client: &mut Client) -> (Capsules, TcpStream) {
    let (listener, address) = listen().await;
    let capsules = Capsules::open(client, address.port()).await;
    let (socket, _) = soon(listener.accept()).await.unwrap();
    (capsules, socket)
}

#[tokio::test]
async fn bulk_comes_back_unchanged_and_ends_cleanly() {
    let proxy = Proxy::start(config()).await;
    let port = echo("127.0.0.1:0").await.port();
    let mut capsules = Capsules::open(&mut proxy.client().await, port).await;
    let data = pattern(300_000);
    for part in data.chunks(70_000) {
        capsules.write(part).await;
    }
    capsules.tunnel.write_static(&END).await;
    assert!(capsules.read_to_end().await == data);
    // Both sides have ended, and so has the connection: the stream ends with it.
    assert_eq!(soon(capsules.tunnel.read_to_end()).await.unwrap(), b"");
}

#[tokio::test]
async fn d40_capsules_are_cut_and_merged_at_will() {
    let proxy = Proxy::start(config()).await;
    let (mut capsules, mut target) = pair(&mut proxy.client().await).await;
    // An unknown capsule, two with bytes, one without, and the end with the last bytes.
    let wire = [&b"\x29\x06grease"[..], &data_head(2), b"ab", &data_head(0), &data_head(1), b"c"];
    let wire = [&wire.concat()[..], &END[..4], b"\x02de"].concat();
    for byte in wire.chunks(1) {
        soon(capsules.tunnel.write(Bytes::copy_from_slice(byte))).await.unwrap();
    }
    let mut heard = Vec::new();
    soon(target.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"abcde");
}

#[tokio::test]
async fn d04_each_side_ends_for_itself() {
    let proxy = Proxy::start(config()).await;
    let (mut capsules, mut target) = pair(&mut proxy.client().await).await;
    target.write_all(b"bye").await.unwrap();
    target.shutdown().await.unwrap();
    assert_eq!(capsules.read_to_end().await, b"bye");
    capsules.write(b"not yet").await;
    capsules.tunnel.write_static(&END).await;
    let mut heard = Vec::new();
    soon(target.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"not yet");
    assert_eq!(soon(capsules.tunnel.read_to_end()).await.unwrap(), b"");
}

#[tokio::test]
async fn a_stream_that_ends_without_its_end_was_cut_off() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    for wire in [&b""[..], &data_head(5)] {
        let (mut capsules, mut target) = pair(&mut client).await;
        capsules.write(b"half").await;
        soon(target.read_exact(&mut [0; 4])).await.unwrap();
        soon(capsules.tunnel.write(Bytes::copy_from_slice(wire))).await.unwrap();
        capsules.tunnel.finish();
        let cut = soon(target.read_to_end(&mut Vec::new())).await.expect_err("a reset");
        assert_eq!(cut.kind(), ErrorKind::ConnectionReset);
        assert_eq!(capsules.tunnel.reset_reason().await, Some(Reason::CONNECT_ERROR));
    }
}

#[tokio::test]
async fn a_targets_reset_is_a_connect_error() {
    let proxy = Proxy::start(config()).await;
    let (mut capsules, target) = pair(&mut proxy.client().await).await;
    target.set_zero_linger().unwrap();
    drop(target);
    assert_eq!(capsules.tunnel.reset_reason().await, Some(Reason::CONNECT_ERROR));
}

#[tokio::test]
async fn a_client_hears_100_before_its_target_answers() {
    let proxy = Proxy::start(config()).await;
    let mut client = proxy.client().await;
    let path = "https://localhost/.well-known/masque/tcp/127.0.0.1";
    let request = http::Request::connect(format!("{path}/{}/", listen().await.1.port()))
        .header("expect", "100-continue")
        .extension(h2::ext::Protocol::from_static("connect-tcp"));
    let request = request.body(()).unwrap();
    let (mut response, _send) = client.requests.send_request(request, false).unwrap();
    let heard = soon(std::future::poll_fn(|cx| response.poll_informational(cx))).await;
    assert_eq!(heard.unwrap().unwrap().status(), 100);
}
