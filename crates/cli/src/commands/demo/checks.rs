//! What the demo does and what must come of it.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::stream::{FuturesUnordered, StreamExt};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::host::{Datagrams, Host};
use super::pattern;
use super::progress;
use super::target::Targets;

/// The size of the download and of the upload, in bytes.
pub(super) const BULK: u64 = 100_000_000;
/// How many short requests run at once.
const REQUESTS: usize = 200;
/// The size of a short request's answer, in bytes.
const SHORT: u64 = 10_000;
/// How many datagrams are echoed.
pub(super) const DATAGRAMS: usize = 1_000;
/// The largest datagram, in bytes.
const MAX_DATAGRAM: usize = 1_400;
/// How long any single step may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the echo of a datagram may take before it counts as lost.
const ECHO_PATIENCE: Duration = Duration::from_secs(2);
/// How long a refused connection may take to be told.
const AT_ONCE: Duration = Duration::from_millis(500);

/// What was measured on the way.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) download: Option<Duration>,
    pub(super) upload: Option<Duration>,
    pub(super) refused: Option<Duration>,
    /// Time from `connect()` to connected, of each short request.
    pub(super) connects: Vec<Duration>,
    /// Time from the request's first byte to the answer's last, of each short request.
    pub(super) requests: Vec<Duration>,
    pub(super) datagrams_lost: usize,
    /// Every check that failed, with its reason.
    pub(super) failures: Vec<(&'static str, String)>,
}

impl Measured {
    /// Notes a failed check; gives the value of a good one.
    fn note<T>(&mut self, name: &'static str, outcome: Result<T>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                self.failures.push((name, format!("{error:#}")));
                None
            }
        }
    }
}

/// Runs all checks, one after the other.
pub(super) async fn run<H: Host>(host: &H, v4: &Targets, v6: &Targets) -> Measured {
    let mut measured = Measured::default();
    let digest = pattern::digest(BULK);

    let bar = progress::bytes("download", BULK);
    let outcome = download(host, v4.http, BULK, &digest, |n| bar.inc(n)).await;
    measured.download = measured.note("download", progress::finish(&bar, outcome));

    let bar = progress::bytes("upload", BULK);
    let outcome = upload(host, v4.http, Some(BULK), BULK, &digest, |n| bar.inc(n)).await;
    measured.upload = measured.note("upload", progress::finish(&bar, outcome));

    let bar = progress::count("short requests", REQUESTS);
    let outcome = requests(host, v4.http, &mut measured, || bar.inc(1)).await;
    measured.note("short requests", progress::finish(&bar, outcome));

    let bar = progress::count("IPv6 request", 1);
    let outcome = download(host, v6.http, SHORT, &pattern::digest(SHORT), |_| {}).await;
    measured.note("IPv6 request", progress::finish(&bar, outcome));

    let bar = progress::count("half-closed request", 1);
    let outcome = upload(host, v4.http, None, SHORT, &pattern::digest(SHORT), |_| {}).await;
    measured.note("half-closed request", progress::finish(&bar, outcome));

    let bar = progress::count("refused port", 1);
    let outcome = refused(host, v4.closed).await;
    measured.refused = measured.note("refused port", progress::finish(&bar, outcome));

    let bar = progress::count("datagrams", DATAGRAMS);
    let outcome = echo(host, v4.echo, || bar.inc(1)).await;
    let lost = measured.note("datagrams", progress::finish(&bar, outcome));
    measured.datagrams_lost = lost.unwrap_or(DATAGRAMS);
    if lost.is_some_and(|lost| lost > 0) {
        measured.failures.push(("datagrams", "some were lost".to_owned()));
    }
    measured
}

/// Downloads `len` bytes and compares their hash; returns the time it took.
async fn download<H: Host>(
    host: &H,
    server: SocketAddr,
    len: u64,
    digest: &str,
    advance: impl Fn(u64),
) -> Result<Duration> {
    let start = now();
    let mut stream = connect(host, server).await?;
    let request = format!("GET /bytes/{len} HTTP/1.1\r\nhost: demo\r\n\r\n");
    stream.write_all(request.as_bytes()).await.context("sending the request")?;
    let mut buffer = vec![0; 4 * pattern::CHUNK];
    let mut filled = read_some(&mut stream, &mut buffer, 0).await?;
    let body = loop {
        if let Some(end) = find_body(&buffer[..filled]) {
            break end;
        }
        filled += read_some(&mut stream, &mut buffer, filled).await?;
    };
    let mut hash = Sha256::new();
    hash.update(&buffer[body..filled]);
    let mut received = (filled - body) as u64;
    advance(received);
    while received < len {
        let n = read_some(&mut stream, &mut buffer, 0).await?;
        hash.update(&buffer[..n]);
        received += n as u64;
        advance(n as u64);
    }
    ensure!(received == len, "{received} bytes came instead of {len}");
    let took = start.elapsed();
    ensure!(pattern::hex(&hash.finalize()) == digest, "the SHA-256 of the body is wrong");
    Ok(took)
}

/// Uploads `len` bytes and compares the hash that the server saw; returns the time it took.
///
/// Without a content length the body ends with FIN, and the answer comes after it: half-close.
async fn upload<H: Host>(
    host: &H,
    server: SocketAddr,
    content_length: Option<u64>,
    len: u64,
    digest: &str,
    advance: impl Fn(u64),
) -> Result<Duration> {
    let start = now();
    let mut stream = connect(host, server).await?;
    let length = content_length.map_or(String::new(), |n| format!("content-length: {n}\r\n"));
    let head = format!("POST /hash HTTP/1.1\r\nhost: demo\r\n{length}\r\n");
    stream.write_all(head.as_bytes()).await.context("sending the request")?;
    let mut buffer = vec![0; pattern::CHUNK];
    for (offset, size) in pattern::chunks(len) {
        pattern::fill(offset, &mut buffer[..size]);
        let sent = timeout(PATIENCE, stream.write_all(&buffer[..size])).await;
        sent.context("the upload hangs")?.context("sending the body")?;
        advance(size as u64);
    }
    if content_length.is_none() {
        stream.shutdown().await.context("sending FIN")?;
    }
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.context("the answer hangs")?.context("reading the answer")?;
    let took = start.elapsed();
    ensure!(answer.ends_with(digest.as_bytes()), "the server saw another SHA-256");
    Ok(took)
}

/// Many short requests at once.
async fn requests<H: Host>(
    host: &H,
    server: SocketAddr,
    measured: &mut Measured,
    advance: impl Fn(),
) -> Result<()> {
    let digest = pattern::digest(SHORT);
    let mut running: FuturesUnordered<_> =
        (0..REQUESTS).map(|_| short_request(host, server, &digest)).collect();
    while let Some(outcome) = running.next().await {
        let (connect, request) = outcome?;
        measured.connects.push(connect);
        measured.requests.push(request);
        advance();
    }
    Ok(())
}

/// One short request; returns the times of its connect and of its exchange.
async fn short_request<H: Host>(
    host: &H,
    server: SocketAddr,
    digest: &str,
) -> Result<(Duration, Duration)> {
    let start = now();
    let mut stream = connect(host, server).await?;
    let connected = now();
    let request = format!("GET /bytes/{SHORT} HTTP/1.1\r\nhost: demo\r\n\r\n");
    stream.write_all(request.as_bytes()).await.context("sending the request")?;
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.context("the answer hangs")?.context("reading the answer")?;
    let took = connected.elapsed();
    let body = find_body(&answer).context("the answer has no end of its head")?;
    ensure!(pattern::hex(&Sha256::digest(&answer[body..])) == digest, "a body is wrong");
    Ok((connected.duration_since(start), took))
}

/// A connection to a closed port; returns how long the refusal took.
async fn refused<H: Host>(host: &H, closed: SocketAddr) -> Result<Duration> {
    let start = now();
    let outcome = timeout(PATIENCE, host.connect(closed)).await.context("connect() hangs")?;
    let took = start.elapsed();
    let error = outcome.err().context("connect() succeeded")?;
    ensure!(error.kind() == io::ErrorKind::ConnectionRefused, "connect() failed with: {error}");
    ensure!(took < AT_ONCE, "the refusal took {took:?}");
    Ok(took)
}

/// Datagrams of every size, each compared with its echo; returns how many were lost.
async fn echo<H: Host>(host: &H, server: SocketAddr, advance: impl Fn()) -> Result<usize> {
    let socket = host.datagrams(server).await.context("opening a UDP socket")?;
    let mut sent = vec![0; MAX_DATAGRAM.next_multiple_of(8)];
    let mut received = vec![0; 64 * 1024];
    let mut lost = 0;
    for n in 0..DATAGRAMS {
        let size = 1 + n * (MAX_DATAGRAM - 1) / (DATAGRAMS - 1);
        pattern::fill(n as u64 * 8, &mut sent);
        socket.send(&sent[..size]).await.context("sending a datagram")?;
        match timeout(ECHO_PATIENCE, socket.recv(&mut received)).await {
            Ok(len) => {
                let len = len.context("receiving a datagram")?;
                ensure!(received[..len] == sent[..size], "datagram {n} came back changed");
            }
            Err(_elapsed) => lost += 1,
        }
        advance();
    }
    Ok(lost)
}

async fn connect<H: Host>(host: &H, server: SocketAddr) -> Result<H::Stream> {
    let connected = timeout(PATIENCE, host.connect(server)).await;
    connected.context("connect() hangs")?.context("connect() failed")
}

/// Reads at least one byte to `buffer[filled..]`.
async fn read_some(
    stream: &mut (impl AsyncReadExt + Unpin),
    buffer: &mut [u8],
    filled: usize,
) -> Result<usize> {
    let read = timeout(PATIENCE, stream.read(&mut buffer[filled..])).await;
    let n = read.context("the answer hangs")?.context("reading the answer")?;
    ensure!(n > 0, "the answer ended early");
    Ok(n)
}

/// Where the body of an HTTP/1.1 answer begins.
fn find_body(answer: &[u8]) -> Option<usize> {
    answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|head| head + 4)
}

#[expect(clippy::disallowed_methods, reason = "the demo measures real time")]
fn now() -> Instant {
    Instant::now()
}
