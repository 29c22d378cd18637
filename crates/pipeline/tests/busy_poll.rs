//! When [`Splice::busy_poll`](pseudotcp_pipeline::Splice::busy_poll) looks again before it sleeps, in
//! virtual time.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, Sink, Stream};
use pseudotcp_packet::{Packet, build};
use pseudotcp_pipeline::Direction::{self, In, Out};
use pseudotcp_pipeline::splice;
use tokio::task::yield_now;
use tokio::time::{Instant, advance};

const LIMIT: Duration = Duration::from_micros(200);
/// Between two looks at the ports.
const LOOK: Duration = Duration::from_micros(10);

/// A port that gives packets at their times, and takes any.
struct Script(VecDeque<(Instant, Packet)>);

impl Stream for Script {
    type Item = io::Result<Packet>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.0.pop_front_if(|(at, _)| *at <= Instant::now()) {
            Some((_, packet)) => Poll::Ready(Some(Ok(packet))),
            None => Poll::Pending,
        }
    }
}

impl Sink<Packet> for Script {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: Packet) -> io::Result<()> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

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
    let (from, to) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    let packet = build::datagram(from, to, Bytes::from_static(b"payload"), None).unwrap();
    let times = (1..).map(|count| Instant::now() + pause * count);
    let script = |which| {
        let all = ways.iter().zip(times.clone());
        let its = all.filter(|(way, _)| **way == which).map(|(_, at)| (at, packet.clone()));
        Script(its.collect())
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
