//! A faulty port in front of one that simply hands back what it gets.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU16;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use pseudotcp_packet::{Packet, Transport, build};
use pseudotcp_testkit::{Faults, Faulty, seed};

/// Yields what was sent into it; never ends.
#[derive(Default)]
struct Mirror(VecDeque<Packet>);

impl Sink<Packet> for Mirror {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Packet) -> io::Result<()> {
        self.0.push_back(packet);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Stream for Mirror {
    type Item = io::Result<Packet>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.pop_front().map_or(Poll::Pending, |packet| Poll::Ready(Some(Ok(packet))))
    }
}

fn numbered(number: u16) -> Packet {
    let payload = Bytes::copy_from_slice(&number.to_be_bytes());
    let ends = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    build::datagram(ends.0, ends.1, payload, None).unwrap()
}

fn number(packet: &Packet) -> u16 {
    u16::from_be_bytes(packet.body().concat().try_into().unwrap())
}

/// Sends 2,000 numbered packets through a port and returns the numbers that come back.
fn through(port: &mut Faulty<Mirror>) -> Vec<u16> {
    for i in 0..2_000 {
        port.feed(numbered(i)).now_or_never().unwrap().unwrap();
    }
    port.flush().now_or_never().unwrap().unwrap();
    let mut numbers = Vec::new();
    while let Some(Some(packet)) = port.next().now_or_never() {
        numbers.push(number(&packet.unwrap()));
    }
    numbers
}

#[test]
fn without_faults_everything_passes_in_order() {
    let mut port = Faulty::new(Mirror::default(), Faults::default(), Faults::default(), seed());
    assert_eq!(through(&mut port), (0..2_000).collect::<Vec<_>>());
    assert_eq!((port.inbound().passed(), port.outbound().passed()), (2_000, 2_000));
}

#[test]
fn what_is_lost_and_doubled_is_counted() {
    let faults = Faults { drop: 0.1, duplicate: 0.1, ..Faults::default() };
    let mut port = Faulty::new(Mirror::default(), faults, faults, seed());
    let numbers = through(&mut port);
    for counts in [port.inbound(), port.outbound()] {
        assert!(counts.dropped() > 50 && counts.duplicated() > 50, "{counts:?}");
    }
    let (inbound, outbound) = (port.inbound(), port.outbound());
    assert_eq!(outbound.passed(), 2_000 - outbound.dropped() + outbound.duplicated());
    assert_eq!(inbound.passed(), outbound.passed() - inbound.dropped() + inbound.duplicated());
    assert_eq!(numbers.len() as u64, inbound.passed());
}

#[test]
fn reordering_loses_nothing() {
    let faults = Faults { reorder: 0.2, ..Faults::default() };
    let mut port = Faulty::new(Mirror::default(), faults, Faults::default(), seed());
    let mut numbers = through(&mut port);
    let swapped = numbers.windows(2).filter(|pair| pair[0] > pair[1]).count() as u64;
    assert!(swapped > 100, "{swapped}");
    assert_eq!(port.inbound().reordered(), swapped);
    numbers.sort_unstable();
    assert_eq!(numbers, (0..2_000).collect::<Vec<_>>());
}

#[test]
fn a_held_packet_goes_on_when_nothing_follows() {
    let always = Faults { reorder: 1.0, ..Faults::default() };
    let mut port = Faulty::new(Mirror::default(), always, always, seed());
    port.send(numbered(7)).now_or_never().unwrap().unwrap();
    let packet = port.next().now_or_never().unwrap().unwrap().unwrap();
    assert_eq!(number(&packet), 7);
    assert!(port.next().now_or_never().is_none());
}

#[test]
fn corruption_never_reaches_a_payload() {
    let faults = Faults { corrupt: 1.0, ..Faults::default() };
    let mut port = Faulty::new(Mirror::default(), Faults::default(), faults, seed());
    let numbers = through(&mut port);
    assert_eq!(port.outbound().corrupted(), 2_000);
    // Only a checksum of one bit can lose it and be taken for absent, its payload untouched.
    assert!(numbers.len() < 3 && numbers.is_sorted(), "{numbers:?}");
}

#[test]
fn what_is_too_big_is_lost_and_its_sender_told_so() {
    let faults = Faults { mtu: Some(100), ..Faults::default() };
    let mut port = Faulty::new(Mirror::default(), Faults::default(), faults, seed());
    let ends = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    for len in [72, 73] {
        let packet = build::datagram(ends.0, ends.1, Bytes::from(vec![0; len]), None).unwrap();
        port.send(packet).now_or_never().unwrap().unwrap();
    }
    let mut next = || port.next().now_or_never().map(|packet| packet.unwrap().unwrap());
    let error = next().unwrap();
    assert!(
        matches!(error.transport(), Transport::Icmp(_)) && error.ip().destination() == ends.0.ip()
    );
    assert_eq!((next().unwrap().total_len(), next().is_none()), (100, true));
    assert_eq!((port.outbound().too_big(), port.outbound().passed()), (1, 1));
}

#[test]
fn super_segments_are_lost_piece_by_piece() {
    let ends = ("[fd00::1]:1".parse().unwrap(), "[fd00::2]:2".parse().unwrap());
    let payload = Bytes::from(vec![0; 60_000]);
    let whole = build::datagram(ends.0, ends.1, payload, NonZeroU16::new(100)).unwrap();
    let faults = Faults { drop: 0.5, ..Faults::default() };
    let mut port = Faulty::new(Mirror::default(), Faults::default(), faults, seed());
    port.send(whole).now_or_never().unwrap().unwrap();
    let counts = port.outbound();
    assert_eq!(counts.passed() + counts.dropped(), 600);
    assert!(counts.passed() > 200 && counts.dropped() > 200, "{counts:?}");
}
