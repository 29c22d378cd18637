//! The network layer of the stack: which packets may go on, and ICMP.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;
use pseudotcp_masque::OpenError;
use pseudotcp_packet::{
    ErrorCause, HeaderProblem, IcmpError, Packet, Protocol, Quote, Scope, TcpFlags, Transport,
    Unreachable, build,
};
use pseudotcp_tcp::Engine;
use pseudotcp_udp::Demux;

use super::Shared;
use super::answer::Pinged;
use super::ping::{Hosts, Ping};

/// The most answers that wait to be taken; what is beyond is dropped and counted.
const MAX_ANSWERS: usize = 1_024;

/// "No next header" of IPv6 (RFC 8200 §4.7): nothing is wrong with it, and nothing follows.
const NO_NEXT_HEADER: Protocol = Protocol::Other(59);

/// What is neither a segment nor a datagram for a flow.
pub(super) struct Network {
    /// The device's own addresses and their networks.
    device: Vec<IpNet>,
    ping: Ping,
    hosts: Hosts,
    answers: VecDeque<Packet>,
}

/// What becomes of a packet before anybody looks at what it carries.
enum Admission {
    Pass,
    /// It stands for many, for nobody, or for something that is never on the wire.
    Drop,
    /// It is for a single host that no proxy can reach in the app's name.
    Refuse,
    Problem(HeaderProblem),
}

impl Network {
    pub(super) fn new(device: Vec<IpNet>, ping: Ping) -> Self {
        Self { device, ping, hosts: Hosts::default(), answers: VecDeque::new() }
    }

    /// Whether a packet may go on to the engines. What may not is dropped or refused here: nothing
    /// for a neighbour, for many or for ourselves is tunnelled by accident.
    pub(super) fn admits(&mut self, now: Instant, packet: &Packet, shared: &mut Shared) -> bool {
        match self.admission(packet) {
            Admission::Pass => return true,
            Admission::Drop => shared.stats.unroutable += 1,
            Admission::Refuse => {
                shared.stats.unroutable += 1;
                self.refuse(now, packet, Unreachable::Host, shared);
            }
            Admission::Problem(problem) => {
                shared.stats.other_packets += 1;
                if let (HeaderProblem::Tell(problem), Some(quote)) = (problem, Quote::of(packet)) {
                    self.tell(now, quote.parameter_problem(problem), shared);
                }
            }
        }
        false
    }

    /// An ICMP message: an error for a flow, a ping, or something that does not concern us.
    pub(super) fn handle_icmp(
        &mut self,
        now: Instant,
        packet: Packet,
        (tcp, udp): (&mut Engine, &mut Demux),
        shared: &mut Shared,
    ) {
        if let Some(error) = IcmpError::of(&packet) {
            shared.stats.icmp_errors_in += 1;
            handle_error(now, &error, tcp, udp);
        } else if build::echo_reply(&packet).is_none() {
            shared.stats.other_packets += 1;
        } else if let Some(outcome) = self.ping.verdict() {
            self.reply(now, &packet, outcome, shared);
        } else if let Some((request, outcome)) = self.hosts.ask(now, packet, shared) {
            self.reply(now, &request, outcome, shared);
        }
    }

    /// A packet of a protocol that cannot be carried (RFC 1122 §3.2.2.1, RFC 8200 §4).
    pub(super) fn handle_other(&mut self, now: Instant, packet: &Packet, shared: &mut Shared) {
        shared.stats.other_packets += 1;
        if packet.ip().protocol() != NO_NEXT_HEADER {
            self.refuse(now, packet, Unreachable::Protocol, shared);
        }
    }

    /// A host that was pinged has answered, or not.
    pub(super) fn probed(
        &mut self,
        now: Instant,
        host: IpAddr,
        result: &Result<(), OpenError>,
        shared: &mut Shared,
    ) {
        let (requests, outcome) = self.hosts.probed(now, host, result);
        for request in requests {
            self.reply(now, &request, outcome, shared);
        }
    }

    /// The next answer.
    pub(super) fn poll_transmit(&mut self) -> Option<Packet> {
        self.answers.pop_front()
    }

    fn admission(&self, packet: &Packet) -> Admission {
        let ip = packet.ip();
        let (source, destination) = (ip.source(), ip.destination());
        match (Scope::of(source), Scope::of(destination)) {
            (Scope::Host | Scope::LinkLocal, Scope::Host) => {}
            (Scope::Host | Scope::LinkLocal, Scope::LinkLocal) => return Admission::Refuse,
            _ => return Admission::Drop,
        }
        if self.device.iter().any(|network| network.addr() == destination) {
            return Admission::Refuse;
        }
        if self.device.iter().any(|network| is_broadcast(network, destination)) {
            return Admission::Drop;
        }
        ip.header_problem().map_or(Admission::Pass, Admission::Problem)
    }

    /// Tells the sender of a packet that there is no way; by RST where a SYN would hear nothing
    /// because its errors are used up.
    fn refuse(&mut self, now: Instant, packet: &Packet, why: Unreachable, shared: &mut Shared) {
        let Some(quote) = Quote::of(packet) else { return };
        let told = self.tell(now, quote.unreachable(why), shared);
        let is_syn = matches!(packet.transport(), Transport::Tcp(tcp)
            if tcp.flags().contains(TcpFlags::SYN));
        if !told && is_syn {
            self.push(build::reset(packet), shared);
        }
    }

    fn reply(&mut self, now: Instant, request: &Packet, outcome: Pinged, shared: &mut Shared) {
        match outcome {
            Pinged::Reached => {
                shared.stats.pings_answered += 1;
                self.push(build::echo_reply(request), shared);
            }
            Pinged::Unreachable(why) => self.refuse(now, request, why, shared),
            Pinged::Silent => {}
        }
    }

    /// Sends an error, unless the app has had too many.
    fn tell(&mut self, now: Instant, error: Packet, shared: &mut Shared) -> bool {
        let allowed = shared.allow_icmp(now, error.ip().destination());
        if allowed {
            self.push(Some(error), shared);
        }
        allowed
    }

    fn push(&mut self, answer: Option<Packet>, shared: &mut Shared) {
        if self.answers.len() < MAX_ANSWERS {
            self.answers.extend(answer);
        } else {
            shared.stats.answers_dropped += 1;
        }
    }
}

/// The flow that an error quotes hears of it. RFC 5461 §2: to TCP all but "too big" are soft errors,
/// which its own timers see to.
fn handle_error(now: Instant, error: &IcmpError, tcp: &mut Engine, udp: &mut Demux) {
    match (error.cause, error.flow.protocol(), error.seq) {
        (ErrorCause::TooBig { mtu }, Protocol::Tcp, Some(seq)) => {
            tcp.handle_too_big(now, &error.flow, seq, mtu);
        }
        (ErrorCause::TooBig { mtu }, Protocol::Udp, _) => udp.handle_too_big(&error.flow, mtu),
        // RFC 1122 §3.2.2.1: these two mean that nobody is there, and not that nobody is reached.
        (ErrorCause::Unreachable(Unreachable::Port | Unreachable::Protocol), Protocol::Udp, _) => {
            udp.handle_unreachable(&error.flow);
        }
        _ => {}
    }
}

/// RFC 919 §7: the directed broadcast of a network; point-to-point links have none (RFC 3021).
fn is_broadcast(network: &IpNet, address: IpAddr) -> bool {
    match network {
        IpNet::V4(v4) => v4.prefix_len() < 31 && IpAddr::V4(v4.broadcast()) == address,
        IpNet::V6(_) => false,
    }
}
