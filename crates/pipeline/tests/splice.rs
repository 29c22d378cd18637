//! The batch rule of [`splice`].

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::task::noop_waker_ref;
use futures::{FutureExt, Sink, Stream};
use pseudotcp_packet::{Packet, build};
use pseudotcp_pipeline::{Direction, Tap, splice};

/// A port that notes what is done with it.
#[derive(Default)]
struct Probe {
    packets: VecDeque<Packet>,
    ends: bool,
    full: bool,
    /// The sizes of the batches that were flushed.
    batches: Vec<usize>,
    unflushed: usize,
}

impl Stream for Probe {
    type Item = io::Result<Packet>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
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
    assert_eq!(seen, [(Direction::Out, 128), (Direction::Out, 128), (Direction::In, 78)]);
    assert_eq!(stack.batches, [2]);
}
