use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::{Sink, SinkExt, Stream, StreamExt};
use pseudotcp_packet::{FlowKey, IcmpError, Packet, TcpFlags, Transport};
use tokio::sync::mpsc;

use crate::PacketPort;
use crate::dealer::{Claim, Dealer};

/// The most packets that wait for a shard.
const WAITING: usize = 256;
/// The most packets that a shard takes over in one batch.
const BATCH: usize = 64;

/// A packet that changes hands; the claim keeps its flow where it goes until that one claims it.
type Handed = (Packet, Option<Claim>);

/// One shard's place among those that share a device: see [`seats`].
#[derive(Debug)]
pub struct Seat {
    number: usize,
    dealer: Arc<Dealer>,
    incoming: mpsc::Receiver<Handed>,
    outgoing: Vec<mpsc::Sender<Handed>>,
}

/// Places for all shards that exchange packets among each other, in their order.
pub fn seats(dealer: &Arc<Dealer>) -> Vec<Seat> {
    let channels = (0..dealer.shards()).map(|_| mpsc::channel(WAITING));
    let (outgoing, incoming): (Vec<_>, Vec<_>) = channels.unzip();
    let seat = |(number, incoming)| Seat {
        number,
        dealer: Arc::clone(dealer),
        incoming,
        outgoing: outgoing.clone(),
    };
    incoming.into_iter().enumerate().map(seat).collect()
}

/// A packet port of one shard, into which the packets go that the shard owns, whichever shard has
/// read them; those of others are handed to their dealer.
///
/// Each flow has one owner, as the [`Dealer`] says; the port behind has to [claim](Dealer::claim) the flows that
/// it has by the end of the batch in which their first packet came. An ICMP error goes where the flow is that
/// it tells of. What shows no flow, as fragments need not, goes to the first shard; so a port that makes
/// packets of fragments stands between two exchanges. Where the device is told who owns what, few packets
/// change hands: those with which flows begin, and which are read by the first shard.
///
/// A shard that is behind by 256 packets loses further ones, as a network would: they are counted.
#[derive(Debug)]
pub struct Exchange<P> {
    seat: Seat,
    port: P,
    /// Of flows that have begun in this batch.
    claims: Vec<Claim>,
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
        Self { seat, port, claims: Vec::new(), stats: ExchangeStats::default() }
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
            let Poll::Ready(Some((packet, claim))) = self.seat.incoming.poll_recv(cx) else {
                return Ok(());
            };
            self.claims.extend(claim);
            self.port.start_send_unpin(packet)?;
        }
        cx.waker().wake_by_ref();
        Ok(())
    }
}

impl Seat {
    /// Whose the packet is; with a claim where a flow may begin with it.
    fn owner(&self, packet: &Packet) -> (usize, Option<Claim>) {
        match flow(packet) {
            Some((flow, true)) => {
                let claim = self.dealer.claim(&flow);
                (claim.owner(), Some(claim))
            }
            Some((flow, false)) => (self.dealer.owner(&flow), None),
            None => (0, None),
        }
    }
}

/// The flow that the packet belongs to, and whether that may begin with it.
fn flow(packet: &Packet) -> Option<(FlowKey, bool)> {
    match packet.transport() {
        Transport::Tcp(header) => Some((packet.flow()?, header.flags().contains(TcpFlags::SYN))),
        Transport::Udp(_) => Some((packet.flow()?, true)),
        Transport::Icmp(_) | Transport::Icmpv6(_) => Some((IcmpError::of(packet)?.flow, false)),
        Transport::Fragment(_) | Transport::Other => None,
    }
}

impl<P: PacketPort> Sink<Packet> for Exchange<P> {
    type Error = io::Error;

    /// What others have read goes first: of a flow that has just been dealt out, it is older.
    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.seat.incoming.is_empty() {
            self.take_over(cx)?;
        }
        self.port.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Packet) -> io::Result<()> {
        if self.seat.outgoing.len() == 1 {
            return self.port.start_send_unpin(packet);
        }
        let (owner, claim) = self.seat.owner(&packet);
        if owner == self.seat.number {
            self.claims.extend(claim);
            return self.port.start_send_unpin(packet);
        }
        let mailbox = self.seat.outgoing.get(owner);
        match mailbox.map(|mailbox| mailbox.try_send((packet, claim))) {
            Some(Ok(())) => self.stats.handed_over += 1,
            Some(Err(_behind_or_gone)) => self.stats.dropped += 1,
            None => {}
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.take_over(cx)?;
        ready!(self.port.poll_flush_unpin(cx))?;
        self.claims.clear();
        Poll::Ready(Ok(()))
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
