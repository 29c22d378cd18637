//! Shards that share a device: every packet reaches the one shard that its flow belongs to.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::task::noop_waker_ref;
use futures::{Sink, SinkExt, Stream};
use proptest::collection::vec;
use proptest::prelude::*;
use pseudotcp_packet::{Packet, Quote, Unreachable, build, reassembly};
use pseudotcp_pipeline::{Exchange, Fragments, IcmpLimit, PacketPort, seats, splice};

const MTU: u32 = 1_500;

/// The end of one shard: keeps what comes.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Vec<Packet>>>);

impl Shelf {
    fn take(&self) -> Vec<Packet> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Stream for Shelf {
    type Item = io::Result<Packet>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Pending
    }
}

impl Sink<Packet> for Shelf {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, packet: Packet) -> io::Result<()> {
        self.0.lock().unwrap().push(packet);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

type Shard = Exchange<Fragments<Exchange<Shelf>>>;

/// The shards of a device as the program makes them, and where the packets of each end.
fn shards(count: usize) -> (Vec<Shard>, Vec<Shelf>) {
    let shelves: Vec<Shelf> = (0..count).map(|_| Shelf::default()).collect();
    let places = seats(count).into_iter().zip(seats(count)).zip(&shelves);
    let shard = |((outer, inner), shelf): ((_, _), &Shelf)| {
        let whole = Exchange::new(inner, shelf.clone());
        let config = reassembly::Config::default();
        Exchange::new(outer, Fragments::new(config, MTU, IcmpLimit::default(), whole))
    };
    (places.map(shard).collect(), shelves)
}

fn flush(port: &mut impl PacketPort) {
    let flushed = port.poll_flush_unpin(&mut Context::from_waker(noop_waker_ref()));
    assert!(flushed.is_ready());
}

/// Has packets come out of the queues of a device that are given beside them, and lets the shards take
/// what is theirs; what each ends with.
fn deliver(count: usize, packets: impl IntoIterator<Item = (usize, Packet)>) -> Vec<Vec<Packet>> {
    let (mut shards, shelves) = shards(count);
    for (queue, packet) in packets {
        shards[queue % count].start_send_unpin(packet).unwrap();
        // Once for the fragments, once for what they make.
        for _ in 0..2 {
            shards.iter_mut().for_each(flush);
        }
    }
    shelves.iter().map(Shelf::take).collect()
}

fn datagram(source: SocketAddr, destination: SocketAddr, payload: impl Into<Bytes>) -> Packet {
    build::datagram(source, destination, payload.into(), None).unwrap()
}

fn end(version: bool, host: u8, port: u16) -> SocketAddr {
    let ip = if version {
        [10, 0, 0, host].into()
    } else {
        [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(host)].into()
    };
    SocketAddr::new(ip, port)
}

/// A flow between a few hosts and ports, so that flows resemble each other.
fn flow() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    (any::<bool>(), 1..4_u8, 1..4_u16, 4..7_u8, 1..4_u16).prop_map(
        |(version, app, from, host, to)| (end(version, app, from), end(version, host, to)),
    )
}

/// Where all packets of a flow are: in one shard, or nowhere.
fn home(shards: &[Vec<Packet>], is_of_flow: impl Fn(&Packet) -> bool) -> Option<usize> {
    let mut homes = (0..shards.len()).filter(|&shard| shards[shard].iter().any(&is_of_flow));
    let home = homes.next();
    assert_eq!(homes.next(), None, "a flow in two shards");
    home
}

proptest! {
    #[test]
    fn a_flow_is_at_home_in_one_shard_whichever_reads_it(
        count in 1..5_usize,
        sent in vec((flow(), 0..8_usize, any::<bool>(), 1..4_000_usize), 1..60),
    ) {
        let mut packets = Vec::new();
        for (number, ((app, host), queue, answers, len)) in sent.iter().enumerate() {
            let (from, to) = if *answers { (*host, *app) } else { (*app, *host) };
            let whole = datagram(from, to, vec![u8::try_from(number).unwrap(); *len]);
            let pieces = whole.fragments(MTU as usize, u32::try_from(number).unwrap());
            // Each piece comes out of another queue.
            packets.extend(pieces.enumerate().map(|(piece, packet)| {
                (queue + piece, Packet::parse(packet.to_bytes()).unwrap())
            }));
        }
        let shards = deliver(count, packets);
        prop_assert_eq!(shards.iter().map(Vec::len).sum::<usize>(), sent.len());
        for ((app, host), ..) in &sent {
            let is_of_flow = |packet: &Packet| {
                let flow = packet.flow().unwrap();
                [(flow.source(), flow.destination()), (flow.destination(), flow.source())]
                    .contains(&(*app, *host))
            };
            let home = home(&shards, is_of_flow).expect("what was sent is somewhere");
            let order: Vec<u8> = shards[home].iter().filter(|packet| is_of_flow(packet))
                .map(|packet| packet.body()[0][0]).collect();
            prop_assert!(order.is_sorted(), "{:?}", order);
        }
    }

    #[test]
    fn an_icmp_error_goes_where_the_flow_is((app, host) in flow(), queue in 0..8_usize) {
        // What the app's kernel says about an answer that nobody wanted.
        let answer = datagram(host, app, &b"late"[..]);
        let error = Quote::of(&answer).unwrap().unreachable(Unreachable::Port);
        let error = Packet::parse(error.to_bytes()).unwrap();
        let sent = datagram(app, host, &b"question"[..]);
        let shards = deliver(4, [(queue, error), (queue + 1, sent)]);
        let lens: Vec<usize> = shards.iter().map(Vec::len).filter(|len| *len > 0).collect();
        prop_assert_eq!(lens, [2]);
    }
}

/// Two shards, and a datagram that the second one owns.
fn two() -> (Exchange<Shelf>, Exchange<Shelf>, Shelf, Packet) {
    let shelf = Shelf::default();
    let [one, two] = seats(2).try_into().unwrap();
    let (mut one, two) = (Exchange::new(one, Shelf::default()), Exchange::new(two, shelf.clone()));
    let theirs = (1..100).map(|port| datagram(end(true, 1, port), end(true, 2, 7), &b"x"[..]));
    let theirs = { theirs }.find(|packet| {
        one.start_send_unpin(packet.clone()).unwrap();
        one.stats().handed_over == 1
    });
    (one, two, shelf, theirs.expect("half of all flows are theirs"))
}

#[test]
fn what_a_shard_that_is_behind_does_not_take_is_lost_and_counted() {
    let (mut one, mut two, shelf, theirs) = two();
    for _ in 0..300 {
        one.start_send_unpin(theirs.clone()).unwrap();
    }
    assert_eq!((one.stats().handed_over, one.stats().dropped), (256, 45));
    for _ in 0..4 {
        flush(&mut two);
    }
    assert_eq!(shelf.take().len(), 256);
    one.start_send_unpin(theirs.clone()).unwrap();
    flush(&mut two);
    assert_eq!(shelf.take().len(), 1);
    drop(two);
    one.start_send_unpin(theirs).unwrap();
    assert_eq!((one.stats().handed_over, one.stats().dropped), (257, 46));
}

#[tokio::test]
async fn a_shard_that_sleeps_is_woken() {
    let (mut one, two, shelf, theirs) = two();
    let sleeper = tokio::spawn(splice(Shelf::default(), two));
    for expected in [1, 1, 1] {
        poll_fn(|cx| {
            if shelf.0.lock().unwrap().is_empty() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        assert_eq!(shelf.take().len(), expected);
        one.start_send_unpin(theirs.clone()).unwrap();
    }
    sleeper.abort();
}
