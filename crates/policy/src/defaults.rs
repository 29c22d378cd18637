//! Rules that most set-ups want, each on its own so that each can be left out.

use pseudotcp_packet::{Protocol, Unreachable};

use crate::sets::{BlockSet, PortSet};
use crate::{RejectKind, Rule, Verdict};

const DNS: u16 = 53;

/// Rejects flows to [`BlockSet::Private`] with host unreachable, except DNS: whatever resolver an
/// app was told to use, its queries are for the interceptor.
pub fn reject_private() -> Rule {
    unreachable_hosts(BlockSet::Private.blocks()).ports([0..=DNS - 1, DNS + 1..=u16::MAX])
}

/// Lets flows to [`BlockSet::Lan`] past the proxy.
pub fn bypass_lan() -> Rule {
    Rule::new(Verdict::Direct).destinations(BlockSet::Lan.blocks())
}

/// Rejects DNS over TLS and over QUIC (port 853) with port unreachable, so that resolvers in
/// opportunistic mode fall back to port 53, which can be intercepted.
pub fn reject_dns_over_tls() -> Rule {
    closed_ports(PortSet::DnsOverTls).protocol(Protocol::Tcp).protocol(Protocol::Udp)
}

/// Rejects ports that proxy providers commonly refuse with port unreachable, at once and here.
pub fn reject_provider_refused() -> Rule {
    closed_ports(PortSet::ProviderRefused)
}

fn unreachable_hosts(blocks: impl Iterator<Item = crate::IpNet>) -> Rule {
    Rule::new(Verdict::Reject(RejectKind::Unreachable(Unreachable::Host))).destinations(blocks)
}

fn closed_ports(set: PortSet) -> Rule {
    Rule::new(Verdict::Reject(RejectKind::Unreachable(Unreachable::Port))).ports(set.ports())
}
