//! Rules and sets that most set-ups want, each on its own so that each can be left out.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use pseudotcp_packet::{Protocol, Unreachable};

use crate::{RejectKind, Rule, Verdict};

const DNS: u16 = 53;
const DNS_OVER_TLS: u16 = 853;

/// IPv4 blocks with no meaning beyond this network.
const PRIVATE_V4: [(Ipv4Addr, u8); 8] = [
    (Ipv4Addr::UNSPECIFIED, 8),          // this network, RFC 791 §3.2
    (Ipv4Addr::new(10, 0, 0, 0), 8),     // private, RFC 1918 §3
    (Ipv4Addr::new(127, 0, 0, 0), 8),    // loopback, RFC 1122 §3.2.1.3
    (Ipv4Addr::new(169, 254, 0, 0), 16), // link-local, RFC 3927 §2.1
    (Ipv4Addr::new(172, 16, 0, 0), 12),  // private, RFC 1918 §3
    (Ipv4Addr::new(192, 168, 0, 0), 16), // private, RFC 1918 §3
    (Ipv4Addr::new(224, 0, 0, 0), 4),    // multicast, RFC 5771 §3
    (Ipv4Addr::BROADCAST, 32),           // limited broadcast, RFC 919 §7
];

/// Their IPv6 equivalents.
const PRIVATE_V6: [(Ipv6Addr, u8); 7] = [
    (Ipv6Addr::UNSPECIFIED, 128),                     // RFC 4291 §2.5.2
    (Ipv6Addr::LOCALHOST, 128),                       // RFC 4291 §2.5.3
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96), // IPv4-mapped, RFC 4291 §2.5.5.2
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),  // unique local, RFC 4193 §3.1
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10), // link-local, RFC 4291 §2.5.6
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10), // site-local, RFC 3879
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),  // multicast, RFC 4291 §2.7
];

/// Ports that proxy providers commonly refuse, because they serve abuse more often than apps.
const PROVIDER_REFUSED: [u16; 11] = [0, 19, 25, 123, 161, 162, 179, 1_900, 3_283, 5_353, 11_211];

/// The private, link-local, loopback, multicast and broadcast blocks of both IP versions: what no
/// proxy can reach, or should be asked to.
pub fn private_blocks() -> impl Iterator<Item = IpNet> {
    let v4 = PRIVATE_V4.into_iter().filter_map(|(ip, len)| Ipv4Net::new(ip, len).ok());
    let v6 = PRIVATE_V6.into_iter().filter_map(|(ip, len)| Ipv6Net::new(ip, len).ok());
    v4.map(IpNet::V4).chain(v6.map(IpNet::V6))
}

/// Rejects flows to [`private_blocks`] with host unreachable, except DNS: whatever resolver an app
/// was told to use, its queries are for the interceptor.
pub fn reject_private() -> Rule {
    Rule::new(Verdict::Reject(RejectKind::Unreachable(Unreachable::Host)))
        .destinations(private_blocks())
        .ports([0..=DNS - 1, DNS + 1..=u16::MAX])
}

/// Lets flows to [`private_blocks`] past the proxy.
pub fn bypass_private() -> Rule {
    Rule::new(Verdict::Direct).destinations(private_blocks())
}

/// Rejects DNS over TLS and over QUIC (port 853) with port unreachable, so that resolvers in
/// opportunistic mode fall back to port 53, which can be intercepted.
pub fn reject_dns_over_tls() -> Rule {
    closed_ports([DNS_OVER_TLS..=DNS_OVER_TLS]).protocol(Protocol::Tcp).protocol(Protocol::Udp)
}

/// Rejects ports that proxy providers commonly refuse with port unreachable, at once and here.
pub fn reject_provider_refused() -> Rule {
    closed_ports(PROVIDER_REFUSED.map(|port| port..=port))
}

fn closed_ports(ports: impl IntoIterator<Item = RangeInclusive<u16>>) -> Rule {
    Rule::new(Verdict::Reject(RejectKind::Unreachable(Unreachable::Port))).ports(ports)
}
