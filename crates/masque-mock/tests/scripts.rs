//! What scripts make of flows, and what the mock counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{join, poll_fn};
use futures::task::{ArcWake, noop_waker_ref, waker};
use futures::{FutureExt, SinkExt, StreamExt};
use pseudotcp_masque::{
    AbortCode, ByteTunnel, OpenError, OpenRequest, Target, Transport, TunnelError,
};
use pseudotcp_masque_mock::{Ending, Mock, Script};
use tokio::time::Instant;

fn request() -> OpenRequest {
    OpenRequest::new(Target::host("target.example", 80))
}

/// Opens need no runtime where nothing waits.
fn open(mock: &Mock) -> ByteTunnel {
    mock.open_tcp(request()).now_or_never().unwrap().unwrap()
}

fn read(tunnel: &mut ByteTunnel) -> Poll<Option<Result<Bytes, TunnelError>>> {
    tunnel.poll_next_unpin(&mut Context::from_waker(noop_waker_ref()))
}

#[tokio::test(start_paused = true)]
async fn latency_passes_in_virtual_time() {
    let latency = Duration::from_secs(3);
    let mock = Mock::new(Script::fail(|| OpenError::Unreachable(None)).with_latency(latency));
    let begin = Instant::now();
    assert!(matches!(mock.open_tcp(request()).await, Err(OpenError::Unreachable(_))));
    assert_eq!(begin.elapsed(), latency);

    let early = begin.into_std() + latency + Duration::from_secs(1);
    let opened = mock.open_udp(request().with_deadline(early)).await;
    assert!(matches!(opened, Err(OpenError::TimedOut(_))));
    assert_eq!(begin.elapsed(), latency + Duration::from_secs(1));
}

#[test]
fn opens_are_counted() {
    let closed = Target::host("closed.example", 80);
    let silent = Target::host("silent.example", 80);
    let mock = Mock::new(Script::echo())
        .with(closed.clone(), Script::fail(|| OpenError::Refused(None)))
        .with(silent.clone(), Script::silent());
    drop(open(&mock));
    assert!(mock.open_tcp(OpenRequest::new(closed)).now_or_never().unwrap().is_err());
    let waiting = mock.open_tcp(OpenRequest::new(silent)).now_or_never();
    assert!(waiting.is_none());
    let stats = mock.stats();
    assert_eq!((stats.requested, stats.opened, stats.failed, stats.cancelled), (3, 1, 1, 1));
}

#[test]
fn a_source_hands_out_clones_of_one_block() {
    let mut tunnel = open(&Mock::new(Script::source(100_000).with_chunk_size(16_384)));
    let mut received = 0;
    let mut block = None;
    while let Poll::Ready(Some(chunk)) = read(&mut tunnel) {
        let chunk = chunk.unwrap();
        assert!(chunk.len() <= 16_384);
        assert_eq!(*block.get_or_insert(chunk.as_ptr()), chunk.as_ptr());
        received += chunk.len();
    }
    assert_eq!(received, 100_000);
    assert!(matches!(read(&mut tunnel), Poll::Ready(None)));
}

#[test]
fn endings_are_recorded() {
    let mock = Mock::new(Script::discard());
    let send = |tunnel: &mut ByteTunnel| tunnel.send("abc".into()).now_or_never().unwrap().unwrap();

    let mut finished = open(&mock);
    send(&mut finished);
    finished.close().now_or_never().unwrap().unwrap();
    assert!(matches!(read(&mut finished), Poll::Ready(None)));
    let mut aborted = open(&mock);
    send(&mut aborted);
    aborted.abort(AbortCode::ConnectError);
    let mut dropped = open(&mock);
    send(&mut dropped);
    drop((finished, aborted, dropped));

    let ends = mock.take_ends();
    let endings: Vec<_> = ends.iter().map(|end| end.ending).collect();
    let aborted = Ending::Aborted(AbortCode::ConnectError);
    assert_eq!(endings, [Ending::Finished, aborted, Ending::Dropped]);
    assert!(ends.iter().all(|end| (end.received, end.sent) == (3, 0)));
    let stats = mock.stats();
    assert_eq!((stats.finished, stats.aborted, stats.dropped, stats.bytes_received), (1, 1, 1, 9));
    assert_eq!(mock.take_ends(), []);
}

#[test]
fn a_broken_flow_tells_both_directions_once_and_for_all() {
    let script = Script::echo().with_break_after(4).with_breakage(|| TunnelError::ProxyGone);
    let mock = Mock::new(script);
    let mut tunnel = open(&mock);
    tunnel.send("abc".into()).now_or_never().unwrap().unwrap();
    assert_eq!(read(&mut tunnel).map(|chunk| chunk.unwrap().unwrap()), Poll::Ready("abc".into()));
    tunnel.send("d".into()).now_or_never().unwrap().unwrap();
    assert!(matches!(read(&mut tunnel), Poll::Ready(Some(Err(TunnelError::ProxyGone)))));
    assert!(matches!(read(&mut tunnel), Poll::Ready(None)));
    let sent = tunnel.send("e".into()).now_or_never().unwrap();
    assert!(matches!(sent, Err(TunnelError::ProxyGone)));
    assert_eq!(mock.stats().broken, 1);
}

#[test]
fn a_source_can_break_at_its_end() {
    let mut tunnel = open(&Mock::new(Script::source(10).with_break_at_end()));
    assert!(matches!(read(&mut tunnel), Poll::Ready(Some(Ok(chunk))) if chunk.len() == 10));
    assert!(matches!(read(&mut tunnel), Poll::Ready(Some(Err(TunnelError::Reset)))));
}

/// Counts how often it was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl ArcWake for Wakes {
    fn wake_by_ref(wakes: &Arc<Self>) {
        wakes.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_full_echo_wakes_its_sender_when_it_is_read() {
    let mut tunnel = open(&Mock::new(Script::echo().with_capacity(1)));
    let wakes = Arc::new(Wakes::default());
    let waker = waker(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);

    tunnel.send("first".into()).now_or_never().unwrap().unwrap();
    assert!(tunnel.poll_ready_unpin(&mut cx).is_ready());
    tunnel.start_send_unpin("second".into()).unwrap();
    assert!(tunnel.poll_ready_unpin(&mut cx).is_pending());
    assert!(tunnel.poll_flush_unpin(&mut cx).is_pending());
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);

    assert!(matches!(read(&mut tunnel), Poll::Ready(Some(Ok(chunk))) if chunk == "first"));
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert!(tunnel.poll_ready_unpin(&mut cx).is_ready());
    assert!(matches!(read(&mut tunnel), Poll::Ready(Some(Ok(chunk))) if chunk == "second"));
}

#[tokio::test]
async fn a_waiting_reader_hears_of_data_and_of_the_end() {
    let (mut sink, mut stream) = open(&Mock::new(Script::echo())).split();
    let write = async {
        sink.send("abc".into()).await.unwrap();
        tokio::task::yield_now().await;
        sink.close().await.unwrap();
    };
    let reader = tokio::spawn(async move {
        let first = stream.next().await.unwrap().unwrap();
        (first, stream.next().await.is_none())
    });
    let (read, ()) = join(reader, write).await;
    assert_eq!(read.unwrap(), (Bytes::from_static(b"abc"), true));
}

#[tokio::test]
async fn datagrams_that_nobody_reads_are_bounded_and_counted() {
    let mock = Mock::new(Script::echo().with_max_datagram_size(4));
    let mut tunnel = mock.open_udp(request()).await.unwrap();
    for id in 0..100_u8 {
        tunnel.send(vec![id].into()).await.unwrap();
    }
    tunnel.send("too large".into()).await.unwrap();
    // The oldest were dropped first.
    for id in 36..100 {
        assert_eq!(*tunnel.next().await.unwrap().unwrap(), [id]);
    }
    assert!(tunnel.next().now_or_never().is_none());
    drop(tunnel);
    let stats = mock.stats();
    assert_eq!((stats.datagrams_received, stats.datagrams_dropped), (100, 37));
}

#[tokio::test]
async fn a_datagram_source_ends_plainly() {
    let mut tunnel = Mock::new(Script::source(3_000)).open_udp(request()).await.unwrap();
    let mut sizes = Vec::new();
    while let Some(datagram) = tunnel.next().await {
        sizes.push(datagram.unwrap().len());
    }
    assert_eq!(sizes, [1_200, 1_200, 600]);
    poll_fn(|cx| tunnel.poll_ready_unpin(cx)).await.unwrap();
}
