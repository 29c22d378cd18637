//! The stack: a packet port on one side, a transport on the other.

mod answer;
mod complaint;
mod config;
mod crowd;
mod flows;
mod lull;
mod network;
mod open;
mod ping;
mod stats;
mod tcp;
mod udp;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::{Sink, Stream};
use pseudotcp_masque::{MAX_CHUNK, OpenError, Transport};
use pseudotcp_packet::{FlowKey, Packet, Transport as Header};
use tokio::sync::watch;

pub use self::answer::{TcpRefusalStyle, UdpRefusalStyle};
pub use self::config::Config;
pub use self::ping::Ping;
pub use self::stats::Stats;

use self::complaint::Complaints;
use self::crowd::Crowd;
use self::flows::{ReadyList, Token};
use self::lull::Lull;
use self::network::Network;
use self::open::{Opened, Opens};
use self::tcp::TcpSide;
use self::udp::UdpSide;
use crate::clock;
use crate::dealer::{Claim, Dealer};
use crate::limit::IcmpLimit;
use crate::timer::Timer;

/// The most bytes that one flow moves in one direction before the next has its turn.
const QUANTUM: usize = MAX_CHUNK;
/// The most bytes that all flows move before the stack yields.
const YIELD: usize = 1024 * 1024;
/// What a turn of a flow that moved nothing counts towards [`YIELD`].
const TURN: usize = 256;

/// Turns packets into flows of a [`Transport`], and back.
///
/// A packet port without a device: the packets of apps go in by the sink, the packets for them come
/// out of the stream. The stack owns its engines and all its open flows; there is no task, channel or
/// lock per flow.
///
/// * `poll_ready` is always Ready: what does not fit is dropped and counted, as a network would.
/// * `poll_flush` is the end of a batch: here acknowledgements are settled and tunnels are pumped. It
///   never waits for a tunnel.
/// * `poll_next` also does what tunnels and timers have asked for since. It never ends.
pub struct Stack {
    tcp: TcpSide,
    udp: UdpSide,
    network: Network,
    shared: Shared,
    timer: Timer,
    lull: Lull,
    crowd: Crowd,
}

/// What both halves use.
struct Shared {
    transport: Arc<dyn Transport>,
    dealer: Option<Arc<Dealer>>,
    opens: Opens,
    ready: Arc<ReadyList>,
    limit: IcmpLimit,
    complaints: Complaints,
    stats: Stats,
    open_timeout: Duration,
    tcp_refusal: TcpRefusalStyle,
    udp_refusal: UdpRefusalStyle,
}

impl Stack {
    /// A stack whose flows go through `transport`.
    ///
    /// # Errors
    ///
    /// Where the operating system has no randomness for the secret that initial sequence numbers
    /// are made from.
    pub fn new(config: Config, transport: Arc<dyn Transport>) -> io::Result<Self> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret)?;
        let Config { tcp, udp, open_timeout, tcp_refusal, udp_refusal, ping, device } = config;
        Ok(Self {
            tcp: TcpSide::new(pseudotcp_tcp::Engine::new(tcp, secret)),
            udp: UdpSide::new(pseudotcp_udp::Demux::new(udp)),
            network: Network::new(device, ping),
            shared: Shared {
                transport,
                dealer: None,
                opens: Opens::default(),
                ready: Arc::default(),
                limit: IcmpLimit::default(),
                complaints: Complaints::default(),
                stats: Stats::default(),
                open_timeout,
                tcp_refusal,
                udp_refusal,
            },
            timer: Timer::default(),
            lull: Lull::default(),
            crowd: Crowd::default(),
        })
    }

    /// Has it claim its flows, as one of several shards.
    #[must_use]
    pub fn dealt_by(mut self, dealer: Arc<Dealer>) -> Self {
        self.shared.dealer = Some(dealer);
        self
    }

    /// The counters so far.
    pub fn stats(&self) -> Stats {
        Stats {
            tcp: *self.tcp.engine.stats(),
            udp: *self.udp.demux.stats(),
            icmp_limited: self.shared.limit.withheld(),
            ..self.shared.stats
        }
    }

    /// The limit of ICMP errors, for the stages before the stack that send some too.
    pub fn icmp_limit(&self) -> IcmpLimit {
        self.shared.limit.clone()
    }

    /// How many TCP flows exist, held SYNs included.
    pub fn tcp_flow_count(&self) -> usize {
        self.tcp.len()
    }

    /// How many UDP flows exist.
    pub fn udp_flow_count(&self) -> usize {
        self.udp.len()
    }

    /// How many flows of both kinds exist, about and in powers of two, to be watched: when most have ended
    /// there is memory to give back.
    pub fn crowd(&self) -> watch::Receiver<usize> {
        self.crowd.watch()
    }

    /// Ends the flows that `keep` does not want: TCP by RST, UDP as closed. How many those were.
    ///
    /// They end as at any other time: their tunnels are aborted, and what the apps are told leaves
    /// with the next packets.
    pub fn retain(&mut self, keep: impl Fn(&FlowKey) -> bool) -> usize {
        let now = clock::now();
        self.tcp.retain(now, &keep) + self.udp.retain(now, &keep)
    }

    /// Does everything that can be done now: timers, events, opens, ready flows.
    fn drive(&mut self, cx: &mut Context<'_>) {
        let now = clock::now();
        self.shared.ready.register(cx.waker());
        if self.is_due(now) && self.lull.may_fire() {
            self.handle_timeouts(now);
        }
        let mut budget = YIELD;
        loop {
            self.tcp.handle_events(now, &mut self.shared);
            self.udp.handle_events(now, &mut self.shared);
            self.handle_opened(now, cx);
            if self.shared.ready.is_empty() || self.udp.is_congested() {
                break;
            }
            if budget == 0 {
                cx.waker().wake_by_ref();
                break;
            }
            budget = self.pump_ready(now, budget);
        }
        self.crowd.count(self.tcp.len() + self.udp.len());
        self.timer.arm(self.deadline(), cx);
    }

    /// When the earliest timer fires.
    fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.tcp.engine.poll_timeout(), self.udp.demux.poll_timeout()];
        deadlines.into_iter().flatten().min()
    }

    fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    fn handle_timeouts(&mut self, now: Instant) {
        if self.tcp.engine.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.tcp.engine.handle_timeout(now);
        }
        if self.udp.demux.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.udp.demux.handle_timeout(now);
        }
    }

    fn handle_opened(&mut self, now: Instant, cx: &mut Context<'_>) {
        while let Poll::Ready(opened) = self.shared.opens.poll_opened(cx) {
            match opened {
                Opened::Tcp(id, result) => self.tcp.opened(now, id, result, &mut self.shared),
                Opened::Udp(id, result) => self.udp.opened(now, id, result, &mut self.shared),
                Opened::Probe(host, result) => {
                    self.network.probed(now, host, &result, &mut self.shared);
                }
            }
        }
    }

    /// Gives ready flows their turns; returns what is left of the budget.
    fn pump_ready(&mut self, now: Instant, mut budget: usize) -> usize {
        while budget > 0
            && !self.udp.is_congested()
            && let Some(token) = self.shared.ready.pop()
        {
            let moved = match token {
                Token::Tcp(id) => self.tcp.pump(now, id, &mut self.shared),
                Token::Udp(id) => self.udp.pump(now, id, &mut self.shared),
            };
            budget = budget.saturating_sub(moved.max(TURN));
        }
        budget
    }

    /// The switch between the protocols.
    fn receive(&mut self, now: Instant, packet: Packet) {
        let Self { tcp, udp, network, shared, .. } = self;
        if !network.admits(now, &packet, shared) {
            return;
        }
        match packet.transport() {
            Header::Tcp(_) => tcp.engine.handle_segment(now, &packet),
            Header::Udp(_) => udp.demux.handle_datagram(now, &packet),
            Header::Icmp(_) | Header::Icmpv6(_) => {
                network.handle_icmp(now, packet, (&mut tcp.engine, &mut udp.demux), shared);
            }
            Header::Fragment(_) => shared.stats.other_packets += 1,
            Header::Other => network.handle_other(now, &packet, shared),
        }
    }

    fn poll_transmit(&mut self) -> Option<Packet> {
        let Self { tcp, udp, network, shared, .. } = self;
        tcp.engine
            .poll_transmit(clock::now())
            .or_else(|| network.poll_transmit())
            .or_else(|| udp.poll_transmit(shared))
    }
}

impl Shared {
    /// Takes note of an open that failed.
    fn open_failed(&mut self, now: Instant, cause: &OpenError) {
        self.stats.opens_failed += 1;
        self.complaints.hear(now, cause);
    }

    /// Keeps the flow here.
    fn claim(&self, flow: &FlowKey) -> Option<Claim> {
        self.dealer.as_ref().map(|dealer| dealer.claim(flow))
    }

    /// Whether one more ICMP error may go to `app`.
    fn allow_icmp(&mut self, now: Instant, app: IpAddr) -> bool {
        self.limit.allow(now, app)
    }
}

impl Sink<Packet> for Stack {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Packet) -> io::Result<()> {
        self.lull.packet();
        self.receive(clock::now(), packet);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lull.end_of_batch();
        self.drive(cx);
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl Stream for Stack {
    type Item = io::Result<Packet>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(packet) = self.poll_transmit() {
            return Poll::Ready(Some(Ok(packet)));
        }
        self.drive(cx);
        match self.poll_transmit() {
            Some(packet) => Poll::Ready(Some(Ok(packet))),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("tcp_flows", &self.tcp.len())
            .field("udp_flows", &self.udp.len())
            .field("opens", &self.shared.opens.len())
            .finish_non_exhaustive()
    }
}
