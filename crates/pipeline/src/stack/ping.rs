//! Echo requests: what a host is said to be is what was found out about it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pseudotcp_masque::{OpenError, OpenRequest};
use pseudotcp_packet::{Packet, Unreachable};
use tokio::time::timeout_at;

use super::Shared;
use super::answer::{self, Pinged};
use super::open::Opened;

/// What apps hear that ping somebody. An echo request cannot be carried by a proxy; a reply is made
/// here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ping {
    /// Nothing.
    Off,
    /// A reply, whether or not there is such a host.
    Reply,
    /// An ICMP error: administratively prohibited.
    Unreachable,
    /// A reply where the host has answered a TCP connection through the transport, by whatever it
    /// said; where the transport knows that the host cannot be reached the error that says so, and
    /// else nothing.
    #[default]
    ReplyIfReachable,
}

/// The port that is asked whether a host answers.
const PROBE_PORT: u16 = 443;
/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a host is believed to be there.
const REACHED_MEMORY: Duration = Duration::from_secs(30);
/// How long a host is believed not to be there.
const FAILURE_MEMORY: Duration = Duration::from_secs(3);
/// The most hosts that are remembered or asked at a time.
const MAX_HOSTS: usize = 1_024;
/// The most probes at a time.
const MAX_PROBES: usize = 64;
/// The most requests that wait for one probe; the oldest are dropped.
const MAX_WAITING: usize = 8;

/// What is known of the hosts that were pinged.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    hosts: HashMap<IpAddr, Host>,
    probes: usize,
}

#[derive(Debug)]
enum Host {
    /// A probe is on its way, and requests wait for it.
    Asked(Vec<Packet>),
    Known {
        outcome: Pinged,
        until: Instant,
    },
}

impl Hosts {
    /// What to say to a request now; `None` where a probe has to tell first, or nothing is to be said.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        request: Packet,
        shared: &mut Shared,
    ) -> Option<(Packet, Pinged)> {
        let host = request.ip().destination();
        match self.hosts.get_mut(&host) {
            Some(Host::Known { outcome, until }) if *until > now => Some((request, *outcome)),
            Some(Host::Asked(waiting)) => {
                if waiting.len() >= MAX_WAITING {
                    waiting.remove(0);
                }
                waiting.push(request);
                None
            }
            _ => {
                self.probe(now, host, request, shared);
                None
            }
        }
    }

    /// A probe has ended: what to say to the requests that waited for it.
    pub(super) fn probed(
        &mut self,
        now: Instant,
        host: IpAddr,
        result: &Result<(), OpenError>,
    ) -> (Vec<Packet>, Pinged) {
        self.probes = self.probes.saturating_sub(1);
        let outcome = result.as_ref().map_or_else(answer::ping, |()| Pinged::Reached);
        let memory = if outcome == Pinged::Reached { REACHED_MEMORY } else { FAILURE_MEMORY };
        match self.hosts.insert(host, Host::Known { outcome, until: now + memory }) {
            Some(Host::Asked(waiting)) => (waiting, outcome),
            _ => (Vec::new(), outcome),
        }
    }

    fn probe(&mut self, now: Instant, host: IpAddr, request: Packet, shared: &mut Shared) {
        self.hosts.retain(|_, host| match host {
            Host::Asked(_) => true,
            Host::Known { until, .. } => *until > now,
        });
        if self.hosts.len() >= MAX_HOSTS || self.probes >= MAX_PROBES {
            return;
        }
        let transport = Arc::clone(&shared.transport);
        let deadline = now + PROBE_TIMEOUT.min(shared.open_timeout);
        let probe = OpenRequest::new(SocketAddr::new(host, PROBE_PORT)).with_deadline(deadline);
        shared.opens.start(async move {
            let answer = timeout_at(deadline.into(), transport.open_tcp(probe)).await;
            Opened::Probe(host, answer.unwrap_or(Err(OpenError::TimedOut(None))).map(drop))
        });
        self.probes += 1;
        self.hosts.insert(host, Host::Asked(vec![request]));
    }
}

impl Ping {
    /// What to say without asking anybody; `None` where the host is to be asked.
    pub(super) fn verdict(self) -> Option<Pinged> {
        match self {
            Self::Off => Some(Pinged::Silent),
            Self::Reply => Some(Pinged::Reached),
            Self::Unreachable => Some(Pinged::Unreachable(Unreachable::Prohibited)),
            Self::ReplyIfReachable => None,
        }
    }
}
