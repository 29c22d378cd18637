use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures::{Sink, SinkExt, Stream, StreamExt};
use pseudotcp_packet::{Packet, Quote, TcpFlags, Transport, Unreachable, build};
use pseudotcp_policy::{RejectKind, Verdict};

use crate::{IcmpLimit, Judge, PacketPort, clock};

/// The most answers that wait to be taken; what is beyond is dropped and counted.
const MAX_ANSWERS: usize = 256;

/// The types of echo requests (RFC 792, RFC 4443 §4.1).
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;

/// A packet port that passes, rejects or drops what goes into the port behind it.
///
/// It looks at what opens flows: SYN segments, datagrams and pings. Other segments pass; the stack
/// knows which of them belong to a flow. Whether a flow goes by proxy or directly is not decided here
/// but by [`Route`](crate::Route), among the transports.
#[derive(Debug)]
pub struct Guard<P> {
    judge: Judge,
    limit: IcmpLimit,
    port: P,
    answers: VecDeque<Packet>,
    reader: Option<Waker>,
    stats: GuardStats,
}

/// What a [`Guard`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuardStats {
    /// Packets that were rejected with an answer.
    pub rejected: u64,
    /// Packets that were dropped silently, by rule or for want of room for an answer.
    pub dropped: u64,
}

impl<P: PacketPort> Guard<P> {
    /// Guards `port` as `judge` says, with no more ICMP errors than `limit` allows.
    pub fn new(judge: Judge, limit: IcmpLimit, port: P) -> Self {
        let stats = GuardStats::default();
        Self { judge, limit, port, answers: VecDeque::new(), reader: None, stats }
    }

    /// The guarded port.
    pub fn port(&self) -> &P {
        &self.port
    }

    /// The guarded port, to change it.
    pub fn port_mut(&mut self) -> &mut P {
        &mut self.port
    }

    /// The counters.
    pub fn stats(&self) -> GuardStats {
        self.stats
    }

    fn verdict(&self, packet: &Packet) -> Verdict {
        if !opens_flow(packet) {
            return Verdict::Proxy;
        }
        if let Some(flow) = packet.flow() {
            return self.judge.decide(&flow);
        }
        let ip = packet.ip();
        self.judge.decide_portless(ip.protocol(), ip.source(), ip.destination())
    }

    /// The answer to a rejected packet, where one may be given. Beyond the limit of ICMP errors a SYN
    /// is still answered, by RST.
    fn answer(&self, packet: &Packet, kind: RejectKind) -> Option<Packet> {
        // To what must not be answered by ICMP no RST goes either (RFC 9293 §3.9.2.3).
        let quote = Quote::of(packet)?;
        let unreachable = match (kind, packet.transport()) {
            (RejectKind::Closed, Transport::Tcp(_)) => return build::reset(packet),
            (RejectKind::Closed, _) => Unreachable::Port,
            (RejectKind::Unreachable(unreachable), _) => unreachable,
        };
        if self.limit.allow(clock::now(), packet.ip().source()) {
            return Some(quote.unreachable(unreachable));
        }
        match packet.transport() {
            Transport::Tcp(_) => build::reset(packet),
            _ => None,
        }
    }

    fn reject(&mut self, packet: &Packet, kind: RejectKind) {
        match self.answer(packet, kind) {
            Some(answer) if self.answers.len() < MAX_ANSWERS => {
                self.answers.push_back(answer);
                self.stats.rejected += 1;
                if let Some(reader) = self.reader.take() {
                    reader.wake();
                }
            }
            _ => self.stats.dropped += 1,
        }
    }
}

/// Whether a packet may open a flow: a first SYN, any datagram, an echo request, or anything of a
/// protocol that has no flows.
fn opens_flow(packet: &Packet) -> bool {
    match packet.transport() {
        Transport::Tcp(tcp) => {
            tcp.flags().contains(TcpFlags::SYN) && !tcp.flags().contains(TcpFlags::ACK)
        }
        Transport::Udp(_) | Transport::Other => true,
        Transport::Icmp(icmp) => icmp.kind() == ECHO_REQUEST,
        Transport::Icmpv6(icmp) => icmp.kind() == ECHO_REQUEST_V6,
        Transport::Fragment(_) => false,
    }
}

impl<P: PacketPort> Sink<Packet> for Guard<P> {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.port.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Packet) -> io::Result<()> {
        match self.verdict(&packet) {
            Verdict::Proxy | Verdict::Direct => return self.port.start_send_unpin(packet),
            Verdict::Reject(kind) => self.reject(&packet, kind),
            Verdict::Drop => self.stats.dropped += 1,
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.port.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.port.poll_close_unpin(cx)
    }
}

impl<P: PacketPort> Stream for Guard<P> {
    type Item = io::Result<Packet>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(answer) = self.answers.pop_front() {
            return Poll::Ready(Some(Ok(answer)));
        }
        if !self.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            self.reader = Some(cx.waker().clone());
        }
        self.port.poll_next_unpin(cx)
    }
}
