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
use pseudotcp_pipeline::{
    Claim, Dealer, Exchange, Fragments, IcmpLimit, PacketPort, seats, splice,
};

const MTU: u32 = 1_500;

/// The end of one shard: keeps what comes, and the flows that it is of.
#[derive(Clone)]
struct Shelf {
    packets: Arc<Mutex<Vec<Packet>>>,
    claims: Arc<Mutex<Vec<Claim>>>,
    dealer: Arc<Dealer>,
}

impl Shelf {
    fn new(dealer: &Arc<Dealer>) -> Self {
        let (packets, claims) = Default::default();
        Self { packets, claims, dealer: Arc::clone(dealer) }
    }

    fn take(&self) -> Vec<Packet> {
        std::mem::take(&mut self.packets.lock().unwrap())
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
        self.packets.lock().unwrap().push(packet);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // As a stack does, at the end of a batch.
        let flows =
            self.packets.lock().unwrap().iter().filter_map(Packet::flow).collect::<Vec<_>>();
        self.claims.lock().unwrap().extend(flows.iter().map(|flow| self.dealer.claim(flow)));
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

type Shard = Exchange<Fragments<Exchange<Shelf>>>;

/// The shards of a device as the program makes them, and where the packets of each end.
fn shards(count: u8) -> (Vec<Shard>, Vec<Shelf>) {
    let dealer = Dealer::new(count, None);
    let shelves: Vec<Shelf> = (0..count).map(|_| Shelf::new(&dealer)).collect();
    let places = seats(&dealer).into_iter().zip(seats(&dealer)).zip(&shelves);
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
fn deliver(count: u8, packets: impl IntoIterator<Item = (usize, Packet)>) -> Vec<Vec<Packet>> {
    let (mut shards, shelves) = shards(count);
    for (queue, packet) in packets {
        shards[queue % usize::from(count)].start_send_unpin(packet).unwrap();
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
        count in 1..5_u8,
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
        let others = (100..110).map(|port| datagram((app.ip(), port).into(), host, &b"other"[..]));
        let others = others.map(|packet| (queue, packet));
        let shards = deliver(4, { others }.chain([(queue + 1, sent), (queue, error)]));
        let is_error = |packet: &Packet| packet.flow().is_none();
        let is_of_flow = |packet: &Packet| packet.flow().is_some_and(|flow| flow.source() == app);
        let home_of_flow = home(&shards, is_of_flow);
        prop_assert!(home_of_flow.is_some());
        prop_assert_eq!(home(&shards, is_error), home_of_flow);
    }
}

/// Two shards, a datagram that the second one owns, and what keeps the first one busier.
fn two() -> (Exchange<Shelf>, Exchange<Shelf>, Shelf, Packet, [Claim; 2]) {
    let dealer = Dealer::new(2, None);
    let packet = |port| datagram(end(true, 1, port), end(true, 2, 7), &b"x"[..]);
    let busy = [1, 2].map(|port| dealer.claim(&packet(port).flow().unwrap()));
    let shelf = Shelf::new(&dealer);
    let [one, two] = seats(&dealer).try_into().unwrap();
    let (one, two) = (Exchange::new(one, Shelf::new(&dealer)), Exchange::new(two, shelf.clone()));
    (one, two, shelf, packet(3), busy)
}

#[test]
fn what_a_shard_that_is_behind_does_not_take_is_lost_and_counted() {
    let (mut one, mut two, shelf, theirs, _busy) = two();
    for _ in 0..300 {
        one.start_send_unpin(theirs.clone()).unwrap();
    }
    assert_eq!((one.stats().handed_over, one.stats().dropped), (256, 44));
    for _ in 0..4 {
        flush(&mut two);
    }
    assert_eq!(shelf.take().len(), 256);
    one.start_send_unpin(theirs.clone()).unwrap();
    flush(&mut two);
    assert_eq!(shelf.take().len(), 1);
    drop(two);
    one.start_send_unpin(theirs).unwrap();
    assert_eq!((one.stats().handed_over, one.stats().dropped), (257, 45));
}

#[test]
fn what_has_changed_hands_goes_before_what_comes_from_the_device() {
    let (mut one, mut two, shelf, theirs, _busy) = two();
    one.start_send_unpin(theirs.clone()).unwrap();
    assert!(two.poll_ready_unpin(&mut Context::from_waker(noop_waker_ref())).is_ready());
    let flow = theirs.flow().unwrap();
    two.start_send_unpin(datagram(flow.source(), flow.destination(), &b"later"[..])).unwrap();
    let order: Vec<Bytes> = shelf.take().iter().map(|packet| packet.body()[0].clone()).collect();
    assert_eq!(order, [&b"x"[..], b"later"]);
}

#[tokio::test]
async fn a_shard_that_sleeps_is_woken() {
    let (mut one, two, shelf, theirs, _busy) = two();
    let device = Shelf::new(&Dealer::new(1, None));
    let sleeper = tokio::spawn(splice(device, two));
    for _ in 0..3 {
        one.start_send_unpin(theirs.clone()).unwrap();
        poll_fn(|cx| {
            if shelf.packets.lock().unwrap().is_empty() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        assert_eq!(shelf.take().len(), 1);
    }
    sleeper.abort();
}
