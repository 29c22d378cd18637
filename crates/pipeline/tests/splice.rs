//! [`splice`]: the rule of batches, and when it looks again before it sleeps.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use bytes::Bytes;
use futures::task::noop_waker_ref;
use futures::{FutureExt, Sink, Stream};
use pseudotcp_packet::{Packet, build};
use pseudotcp_pipeline::Direction::{self, In, Out};
use pseudotcp_pipeline::{Tap, splice};
use tokio::task::yield_now;
use tokio::time::{Instant, advance};

/// A port that notes what is done with it.
#[derive(Default)]
struct Probe {
    packets: VecDeque<Packet>,
    /// When they come; if not told at once.
    times: VecDeque<Instant>,
    ends: bool,
    full: bool,
    /// The sizes of the batches that were flushed.
    batches: Vec<usize>,
    unflushed: usize,
}

impl Stream for Probe {
    type Item = io::Result<Packet>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.times.front().is_some_and(|at| *at > Instant::now()) {
            return Poll::Pending;
        }
        self.times.pop_front();
        match self.packets.pop_front() {
            Some(packet) => Poll::Ready(Some(Ok(packet))),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl Sink<Packet> for Probe {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.full { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn start_send(mut self: Pin<&mut Self>, _: Packet) -> io::Result<()> {
        self.unflushed += 1;
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed > 0 {
            let batch = std::mem::take(&mut self.unflushed);
            self.batches.push(batch);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

fn source(count: usize, size: usize) -> Probe {
    let (from, to) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    let packet = build::datagram(from, to, Bytes::from(vec![0; size]), None).unwrap();
    Probe { packets: vec![packet; count].into(), ..Probe::default() }
}

/// Polls once; true if the splice has ended.
fn poll(a: &mut Probe, b: &mut Probe) -> bool {
    match splice(a, b).poll_unpin(&mut Context::from_waker(noop_waker_ref())) {
        Poll::Ready(ended) => {
            ended.unwrap();
            true
        }
        Poll::Pending => false,
    }
}

#[test]
fn a_dry_source_is_the_end_of_a_batch() {
    let (mut device, mut stack) = (source(10, 100), Probe::default());
    assert!(!poll(&mut device, &mut stack));
    assert_eq!(stack.batches, [10]);
}

#[test]
fn a_batch_is_at_most_64_packets_and_a_poll_is_bounded() {
    let (mut device, mut stack) = (source(1_000, 100), Probe::default());
    assert!(!poll(&mut device, &mut stack));
    assert_eq!(stack.batches, [64; 8], "the rest waits for the next poll");
    while !device.packets.is_empty() {
        assert!(!poll(&mut device, &mut stack));
    }
    assert_eq!(stack.batches.iter().sum::<usize>(), 1_000);
}

#[test]
fn a_batch_is_at_most_a_mebibyte() {
    let (mut device, mut stack) = (source(40, 60_000), Probe::default());
    assert!(!poll(&mut device, &mut stack));
    assert_eq!(stack.batches, [18, 18, 4]);
}

#[test]
fn a_full_sink_leaves_the_source_alone() {
    let (mut device, mut stack) = (source(10, 100), Probe { full: true, ..Probe::default() });
    assert!(!poll(&mut device, &mut stack));
    assert_eq!((device.packets.len(), stack.unflushed), (10, 0));
}

#[test]
fn the_end_of_a_port_is_the_end_of_the_splice_after_what_it_had() {
    let (mut device, mut stack) = (Probe { ends: true, ..source(3, 100) }, Probe::default());
    assert!(poll(&mut device, &mut stack));
    assert_eq!(stack.batches, [3]);
}

#[test]
fn a_tap_sees_both_directions_and_changes_nothing() {
    let mut seen = Vec::new();
    let tap = Tap::new(source(2, 100), |direction, packet: &Packet| {
        seen.push((direction, packet.total_len()));
    });
    let mut stack = source(1, 50);
    let mut splicing = splice(tap, &mut stack);
    let polled = splicing.poll_unpin(&mut Context::from_waker(noop_waker_ref()));
    assert!(polled.is_pending());
    drop(splicing);
    assert_eq!(seen, [(Out, 128), (Out, 128), (In, 78)]);
    assert_eq!(stack.batches, [2]);
}

/// How long the task may look for more.
const LIMIT: Duration = Duration::from_micros(200);
/// Between two looks at the ports.
const LOOK: Duration = Duration::from_micros(10);

/// How often a task was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Moves packets that go these ways, after `pause` each; how often the task looks again after each. The
/// last is followed by nothing for a while.
async fn looks(limit: Duration, pause: Duration, ways: &[Direction]) -> Vec<usize> {
    let times = (1..).map(|count| Instant::now() + pause * count);
    let script = |which| {
        let all = ways.iter().zip(times.clone());
        let times: VecDeque<_> = all.filter(|(way, _)| **way == which).map(|(_, at)| at).collect();
        Probe { times: times.clone(), ..source(times.len(), 100) }
    };
    let (mut device, mut stack) = (script(Out), script(In));
    let mut splicing = splice(&mut device, &mut stack).busy_poll(limit);
    let mut all = Vec::new();
    for count in 0..=ways.len() {
        let until = if count < ways.len() { pause } else { LIMIT * 3 };
        let woken = Arc::new(Woken::default());
        let waker = Arc::clone(&woken).into();
        for _ in 0..until.as_micros() / LOOK.as_micros() {
            assert!(splicing.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
            yield_now().await;
            advance(LOOK).await;
        }
        all.push(woken.0.load(Ordering::Relaxed));
    }
    all.split_off(1)
}

#[tokio::test(start_paused = true)]
async fn two_that_talk_in_short_pauses_are_listened_to_until_they_pause() {
    let talk = [Out, In, Out, In, Out];
    assert_eq!(looks(LIMIT, LIMIT / 2, &talk).await, [0, 10, 10, 10, 20]);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_listened_to_unless_asked() {
    let talk = [Out, In, Out, In, Out];
    assert_eq!(looks(Duration::ZERO, LIMIT / 2, &talk).await, [0; 5]);
}

#[tokio::test(start_paused = true)]
async fn whose_pauses_are_long_is_not_listened_to() {
    assert_eq!(looks(LIMIT, LIMIT * 2, &[Out, In, Out, In, Out]).await, [0; 5]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_soon_no_talk_until_it_is_answered() {
    let stream = [&[Out][..], &[In; 30], &[Out]].concat();
    let looks = looks(LIMIT, LIMIT / 2, &stream).await;
    assert!(looks[1..16].iter().all(|looks| *looks == 10), "{looks:?}");
    assert!(looks[17..31].iter().all(|looks| *looks == 0), "{looks:?}");
    assert_eq!(looks[31], 20);
}
