//! A proxy that writes its frames by hand, for what no proper library would send.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Tls;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const ACK: u8 = 1;

/// `:status: 200`, from HPACK's static table.
pub(crate) const STATUS_200: &[u8] = &[0x88];

/// `SETTINGS_MAX_CONCURRENT_STREAMS = 4096` and `SETTINGS_ENABLE_CONNECT_PROTOCOL = 1`.
pub(crate) const USUAL_SETTINGS: &[u8] = &[0, 3, 0, 0, 16, 0, 0, 8, 0, 0, 0, 1];

pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// Reads the client's preface, then sends these settings and acknowledges the client's.
pub(crate) async fn begin(tls: &mut Tls, settings: &[u8]) {
    let mut preface = [0; 24];
    tls.read_exact(&mut preface).await.unwrap();
    assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    send(tls, SETTINGS, 0, 0, settings).await;
    send(tls, SETTINGS, ACK, 0, &[]).await;
}

/// The client's next frame; `None` when it is gone.
pub(crate) async fn receive(tls: &mut Tls) -> Option<Frame> {
    let mut head = [0; 9];
    tls.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; length];
    tls.read_exact(&mut payload).await.ok()?;
    let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
    Some(Frame { kind: head[3], flags: head[4], stream, payload })
}

/// The stream of the client's next request.
pub(crate) async fn request(tls: &mut Tls) -> Option<u32> {
    loop {
        let frame = receive(tls).await?;
        if frame.kind == HEADERS {
            return Some(frame.stream);
        }
    }
}

pub(crate) async fn send(tls: &mut Tls, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    write(tls, &frame(kind, flags, stream, payload)).await;
}

/// Writes frames at once.
pub(crate) async fn write(tls: &mut Tls, frames: &[u8]) {
    // The client may be gone; the test sees that by other means.
    let _gone = tls.write_all(frames).await;
    let _gone = tls.flush().await;
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The payload of GOAWAY.
pub(crate) fn goaway(last_stream: u32, code: u32) -> Vec<u8> {
    [last_stream.to_be_bytes(), code.to_be_bytes()].concat()
}
