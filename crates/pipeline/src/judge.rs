//! The policy of a pipeline: one for the guard and the route, replaced at any time.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use pseudotcp_masque::Target;
use pseudotcp_packet::{FlowKey, Protocol};
use pseudotcp_policy::{Decision, Owner, Policy, ProxyState, Question, Verdict};

use crate::clock;
use crate::ipv6_watch::Ipv6Watch;

/// Finds out who opened a flow.
///
/// It is asked on the way of the packets, for each datagram and each first segment, and only while
/// the policy has a rule that asks for owners. So it must not block for long, and should remember.
pub trait Owners: Send + Sync {
    /// The owner of the socket at `source`. The destination is unknown where a name is in its place.
    fn owner(
        &self,
        protocol: Protocol,
        source: SocketAddr,
        destination: Option<SocketAddr>,
    ) -> Option<Owner>;
}

/// Knows the names behind addresses.
pub trait Names: Send + Sync {
    /// The name by which apps know an address. It is asked as [`Owners`] is, for every flow.
    fn name(&self, address: IpAddr) -> Option<KnownName>;
}

/// The name behind an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownName {
    /// The name, in ASCII.
    pub name: Arc<str>,
    /// The address only stands for the name, and is nobody's.
    pub is_stand_in: bool,
}

/// Judges flows by a policy that can be replaced at any time.
///
/// A handle; clones share the policy and what is known of the proxy. Asking takes no lock.
#[derive(Clone)]
pub struct Judge(Arc<Shared>);

struct Shared {
    policy: ArcSwap<Policy>,
    owners: Option<Box<dyn Owners>>,
    names: Option<Box<dyn Names>>,
    over_quic: AtomicBool,
    ipv6: Ipv6Watch,
}

/// A policy that has been replaced: tells which flows may stay.
#[derive(Debug)]
pub struct Replaced {
    judge: Judge,
    before: Arc<Policy>,
}

impl Judge {
    /// A judge who knows flows by their addresses only.
    pub fn new(policy: impl Into<Policy>) -> Self {
        Self::with(policy, None, None)
    }

    /// A judge who also knows owners and names, as far as somebody tells.
    pub fn with(
        policy: impl Into<Policy>,
        owners: Option<Box<dyn Owners>>,
        names: Option<Box<dyn Names>>,
    ) -> Self {
        Self(Arc::new(Shared {
            policy: ArcSwap::from_pointee(policy.into()),
            owners,
            names,
            over_quic: AtomicBool::new(false),
            ipv6: Ipv6Watch::default(),
        }))
    }

    /// Says whether the way to the proxy is QUIC now; at first it is taken for TCP.
    pub fn set_over_quic(&self, over_quic: bool) {
        self.0.over_quic.store(over_quic, Ordering::Relaxed);
    }

    /// Puts another policy in force, at once and for all handles.
    pub fn replace(&self, policy: impl Into<Policy>) -> Replaced {
        Replaced { judge: self.clone(), before: self.0.policy.swap(Arc::new(policy.into())) }
    }

    /// What shall become of a flow that packets belong to.
    pub fn decide(&self, flow: &FlowKey) -> Verdict {
        self.ask(&self.0.policy.load(), flow).verdict
    }

    /// Whether flows to a name go past the proxy, as far as the name alone tells.
    pub fn sends_direct(&self, name: &str) -> bool {
        let question = Question::new(Protocol::Tcp).name(name);
        self.0.policy.load().decide(question, self.proxy_state()).verdict == Verdict::Direct
    }

    /// What shall become of a packet without ports.
    pub(crate) fn decide_portless(
        &self,
        protocol: Protocol,
        source: IpAddr,
        destination: IpAddr,
    ) -> Verdict {
        let question = Question::new(protocol).source(source).destination(destination);
        self.0.policy.load().decide(question, self.proxy_state()).verdict
    }

    /// What shall become of a flow that is to be opened.
    pub(crate) fn decide_target(
        &self,
        protocol: Protocol,
        source: Option<SocketAddr>,
        target: &Target,
    ) -> Verdict {
        match (target, source) {
            (Target::Address(to), Some(from)) => self.decide(&FlowKey::new(protocol, from, *to)),
            (Target::Address(to), None) => {
                let question = Question::new(protocol).destination(to.ip()).port(to.port());
                self.0.policy.load().decide(question, self.proxy_state()).verdict
            }
            (Target::Host { name, port }, source) => {
                let policy = self.0.policy.load();
                let mut question = Question::new(protocol).name(name).port(*port);
                if let Some(source) = source {
                    let owner = self.owner(&policy, protocol, source, None);
                    question = question.source(source.ip()).owner(owner);
                }
                policy.decide(question, self.proxy_state()).verdict
            }
        }
    }

    /// What the proxy answers tells what it can do.
    pub(crate) fn ipv6(&self) -> &Ipv6Watch {
        &self.0.ipv6
    }

    fn ask(&self, policy: &Policy, flow: &FlowKey) -> Decision {
        let (source, destination) = (flow.source(), flow.destination());
        let owner = self.owner(policy, flow.protocol(), source, Some(destination));
        let question = Question::from(*flow).owner(owner);
        let known = self.0.names.as_ref().and_then(|names| names.name(destination.ip()));
        match &known {
            Some(KnownName { name, is_stand_in: true }) => {
                policy.decide(question.name(name).without_address(), self.proxy_state())
            }
            Some(KnownName { name, is_stand_in: false }) => {
                policy.decide(question.name(name), self.proxy_state())
            }
            None => policy.decide(question, self.proxy_state()),
        }
    }

    fn owner(
        &self,
        policy: &Policy,
        protocol: Protocol,
        source: SocketAddr,
        destination: Option<SocketAddr>,
    ) -> Owner {
        let owners = self.0.owners.as_ref().filter(|_| policy.rules().ask_owner());
        owners.and_then(|owners| owners.owner(protocol, source, destination)).unwrap_or_default()
    }

    fn proxy_state(&self) -> ProxyState {
        ProxyState {
            over_quic: self.0.over_quic.load(Ordering::Relaxed),
            lacks_ipv6: self.0.ipv6.is_lacking(clock::now),
        }
    }
}

impl Replaced {
    /// Whether a flow that was opened under the former policy goes the same way under the new one.
    /// One that shall go another way now cannot be moved; it must end, like one that is forbidden.
    pub fn allows(&self, flow: &FlowKey) -> bool {
        self.judge.ask(&self.before, flow).verdict == self.judge.decide(flow)
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("policy", &self.0.policy).finish_non_exhaustive()
    }
}
