use pseudotcp_packet::{Protocol, Unreachable};

use crate::{Decision, IpVersion, Limit, Question, RejectKind, Rules, Verdict};

/// QUIC is UDP to this port (RFC 9114 §3.1).
const HTTPS: u16 = 443;

/// What becomes of QUIC that the rules send through the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Quic {
    /// It goes through the proxy as any datagrams do.
    #[default]
    Allow,
    /// It is answered with port unreachable, so that browsers fall back to TCP at once.
    Block,
    /// It is blocked while the way to the proxy is itself a TCP connection, which would delay lost
    /// datagrams instead of losing them, and allowed over QUIC.
    Auto,
}

/// What becomes of IPv6 flows that the rules send through the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ipv6 {
    /// They are answered with unreachable at once while the proxy is known to have no IPv6.
    #[default]
    Auto,
    /// The proxy is asked for every one of them.
    On,
    /// They are always answered with unreachable at once, so that apps fall back to IPv4.
    Off,
}

/// What is known of the proxy just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProxyState {
    /// The way to the proxy is QUIC, not TCP.
    pub over_quic: bool,
    /// The proxy has shown that it reaches no IPv6 target.
    pub lacks_ipv6: bool,
}

/// Rules, and what limits the flows that they send through the proxy.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    rules: Rules,
    quic: Quic,
    ipv6: Ipv6,
}

impl Policy {
    /// These rules with the default limits.
    pub fn new(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Sets what becomes of QUIC (default [`Quic::Allow`]).
    #[must_use]
    pub fn quic(mut self, quic: Quic) -> Self {
        self.quic = quic;
        self
    }

    /// Sets what becomes of IPv6 (default [`Ipv6::Auto`]).
    #[must_use]
    pub fn ipv6(mut self, ipv6: Ipv6) -> Self {
        self.ipv6 = ipv6;
        self
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The verdict for a flow, given what is known of the proxy.
    pub fn decide<'a>(&self, question: impl Into<Question<'a>>, proxy: ProxyState) -> Decision {
        let question = question.into();
        let decision = self.rules.decide(question);
        if decision.verdict != Verdict::Proxy {
            return decision;
        }
        match self.limit(&question, proxy) {
            None => decision,
            Some(limit) => {
                let verdict = Verdict::Reject(RejectKind::Unreachable(audible(limit, &question)));
                Decision { verdict, limit: Some(limit), ..decision }
            }
        }
    }

    fn limit(&self, question: &Question<'_>, proxy: ProxyState) -> Option<Limit> {
        let is_quic = question.protocol == Protocol::Udp && question.port == Some(HTTPS);
        // An address that only stands for a name says nothing about the versions of the target.
        let is_ipv6 = question.version == Some(IpVersion::V6) && question.destination.is_some();
        if is_quic && self.blocks_quic(proxy) {
            Some(Limit::Quic)
        } else if is_ipv6 && self.blocks_ipv6(proxy) {
            Some(Limit::Ipv6)
        } else {
            None
        }
    }

    fn blocks_quic(&self, proxy: ProxyState) -> bool {
        match self.quic {
            Quic::Allow => false,
            Quic::Block => true,
            Quic::Auto => !proxy.over_quic,
        }
    }

    fn blocks_ipv6(&self, proxy: ProxyState) -> bool {
        match self.ipv6 {
            Ipv6::On => false,
            Ipv6::Off => true,
            Ipv6::Auto => proxy.lacks_ipv6,
        }
    }
}

impl From<Rules> for Policy {
    fn from(rules: Rules) -> Self {
        Self::new(rules)
    }
}

/// The error that the app will hear: connected UDP sockets are deaf to "no route".
fn audible(limit: Limit, question: &Question<'_>) -> Unreachable {
    match limit {
        Limit::Ipv6 if question.protocol != Protocol::Udp => Unreachable::Network,
        Limit::Ipv6 | Limit::Quic => Unreachable::Port,
    }
}
