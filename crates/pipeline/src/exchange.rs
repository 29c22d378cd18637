use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Sink, SinkExt, Stream, StreamExt};
use pseudotcp_packet::{FlowKey, IcmpError, Packet, Transport};
use tokio::sync::mpsc;

use crate::PacketPort;

/// The most packets that wait for a shard.
const WAITING: usize = 256;
/// The most packets that a shard takes over in one batch.
const BATCH: usize = 64;

/// One shard's place among those that share a device: see [`seats`].
#[derive(Debug)]
pub struct Seat {
    number: usize,
    incoming: mpsc::Receiver<Packet>,
    outgoing: Vec<mpsc::Sender<Packet>>,
}

/// Places for `count` shards (one at least) that exchange packets among each other.
pub fn seats(count: usize) -> Vec<Seat> {
    let channels = (0..count.max(1)).map(|_| mpsc::channel(WAITING));
    let (outgoing, incoming): (Vec<_>, Vec<_>) = channels.unzip();
    let seat = |(number, incoming)| Seat { number, incoming, outgoing: outgoing.clone() };
    incoming.into_iter().enumerate().map(seat).collect()
}

/// A packet port of one shard, into which the packets go that the shard owns, whichever shard has
/// read them; those of others are handed to their owners.
///
/// Each flow has one owner: what its two ends and its protocol hash to, either way round. An ICMP error
/// goes where the flow is that it tells of. A fragment, which need not show ports, goes where all
/// fragments between its two hosts go; so a port that makes packets of fragments stands between two
/// exchanges. A kernel that hands out the packets of a device to several readers soon does so in this
/// way by itself, as it remembers by which reader a flow was answered. So few packets change hands:
/// first ones, those after a pause of seconds, fragments and ICMP errors.
///
/// A shard that is behind by 256 packets loses further ones, as a network would: they are counted.
#[derive(Debug)]
pub struct Exchange<P> {
    seat: Seat,
    port: P,
    stats: ExchangeStats,
}

/// What an [`Exchange`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExchangeStats {
    /// Packets that were handed to other shards.
    pub handed_over: u64,
    /// Packets that were lost because their owner was behind, or has ended.
    pub dropped: u64,
}

impl<P: PacketPort> Exchange<P> {
    /// Has the packets that belong to the shard on `seat` go into `port`.
    pub fn new(seat: Seat, port: P) -> Self {
        Self { seat, port, stats: ExchangeStats::default() }
    }

    /// The port behind it.
    pub fn port(&self) -> &P {
        &self.port
    }

    /// The port behind it, to change it.
    pub fn port_mut(&mut self) -> &mut P {
        &mut self.port
    }

    /// The counters.
    pub fn stats(&self) -> ExchangeStats {
        self.stats
    }

    /// Takes over what other shards have read.
    fn take_over(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        for _ in 0..BATCH {
            if self.port.poll_ready_unpin(cx)?.is_pending() {
                return Ok(());
            }
            let Poll::Ready(Some(packet)) = self.seat.incoming.poll_recv(cx) else {
                return Ok(());
            };
            self.port.start_send_unpin(packet)?;
        }
        cx.waker().wake_by_ref();
        Ok(())
    }
}

impl Seat {
    /// Whom a packet belongs to, where that is somebody else.
    fn other_owner(&self, packet: &Packet) -> Option<&mpsc::Sender<Packet>> {
        if self.outgoing.len() == 1 {
            return None;
        }
        let owner = usize::try_from(kin(packet) % self.outgoing.len() as u64).ok()?;
        if owner == self.number { None } else { self.outgoing.get(owner) }
    }
}

/// A hash that is the same for all packets that must meet in one shard.
fn kin(packet: &Packet) -> u64 {
    let key = match packet.transport() {
        Transport::Tcp(_) | Transport::Udp(_) => packet.flow(),
        Transport::Icmp(_) | Transport::Icmpv6(_) => IcmpError::of(packet).map(|error| error.flow),
        Transport::Fragment(_) | Transport::Other => None,
    };
    let mut hasher = DefaultHasher::new();
    match key {
        Some(flow) => hash_flow(&flow, &mut hasher),
        None => sorted(packet.ip().source(), packet.ip().destination()).hash(&mut hasher),
    }
    hasher.finish()
}

fn hash_flow(flow: &FlowKey, hasher: &mut impl Hasher) {
    flow.protocol().hash(hasher);
    sorted(flow.source(), flow.destination()).hash(hasher);
}

fn sorted<T: Ord>(one: T, other: T) -> [T; 2] {
    if one <= other { [one, other] } else { [other, one] }
}

impl<P: PacketPort> Sink<Packet> for Exchange<P> {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.port.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Packet) -> io::Result<()> {
        let Some(owner) = self.seat.other_owner(&packet) else {
            return self.port.start_send_unpin(packet);
        };
        match owner.try_send(packet) {
            Ok(()) => self.stats.handed_over += 1,
            Err(_behind_or_gone) => self.stats.dropped += 1,
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.take_over(cx)?;
        self.port.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.port.poll_close_unpin(cx)
    }
}

impl<P: PacketPort> Stream for Exchange<P> {
    type Item = io::Result<Packet>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.port.poll_next_unpin(cx)
    }
}
