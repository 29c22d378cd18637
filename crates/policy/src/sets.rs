//! Sets of addresses and ports that have a name.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What a block is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    ThisHost,
    LinkLocal,
    Site,
    Many,
}

/// IPv4 blocks with no meaning beyond this network.
const V4: [(Use, Ipv4Addr, u8); 8] = [
    (Use::ThisHost, Ipv4Addr::UNSPECIFIED, 8), // this network, RFC 791 §3.2
    (Use::Site, Ipv4Addr::new(10, 0, 0, 0), 8), // private, RFC 1918 §3
    (Use::ThisHost, Ipv4Addr::new(127, 0, 0, 0), 8), // loopback, RFC 1122 §3.2.1.3
    (Use::LinkLocal, Ipv4Addr::new(169, 254, 0, 0), 16), // RFC 3927 §2.1
    (Use::Site, Ipv4Addr::new(172, 16, 0, 0), 12), // private, RFC 1918 §3
    (Use::Site, Ipv4Addr::new(192, 168, 0, 0), 16), // private, RFC 1918 §3
    (Use::Many, Ipv4Addr::new(224, 0, 0, 0), 4), // multicast, RFC 5771 §3
    (Use::Many, Ipv4Addr::BROADCAST, 32),      // limited broadcast, RFC 919 §7
];

/// Their IPv6 equivalents.
const V6: [(Use, Ipv6Addr, u8); 7] = [
    (Use::ThisHost, Ipv6Addr::UNSPECIFIED, 128), // RFC 4291 §2.5.2
    (Use::ThisHost, Ipv6Addr::LOCALHOST, 128),   // RFC 4291 §2.5.3
    (Use::ThisHost, Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96), // IPv4-mapped, RFC 4291 §2.5.5.2
    (Use::Site, Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),      // unique local, RFC 4193 §3.1
    (Use::LinkLocal, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10), // RFC 4291 §2.5.6
    (Use::Site, Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),     // site-local, RFC 3879
    (Use::Many, Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),      // multicast, RFC 4291 §2.7
];

/// A set of addresses with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BlockSet {
    /// `private`: everything below. What no proxy can reach, or should be asked to.
    Private,
    /// `lan`: private, unique local and link-local addresses, that is, one's own networks.
    Lan,
    /// `link-local`: addresses of one link.
    LinkLocal,
    /// `multicast`: multicast groups, and IPv4's limited broadcast.
    Multicast,
    /// `this-host`: loopback, unspecified and IPv4-mapped addresses.
    ThisHost,
}

impl BlockSet {
    /// All sets.
    pub const ALL: [Self; 5] =
        [Self::Private, Self::Lan, Self::LinkLocal, Self::Multicast, Self::ThisHost];

    /// The name in rules.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Lan => "lan",
            Self::LinkLocal => "link-local",
            Self::Multicast => "multicast",
            Self::ThisHost => "this-host",
        }
    }

    /// The set of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|set| set.name() == name)
    }

    /// The blocks of the set, of both IP versions.
    pub fn blocks(self) -> impl Iterator<Item = IpNet> {
        let v4 = V4.into_iter().filter(move |block| self.has(block.0));
        let v6 = V6.into_iter().filter(move |block| self.has(block.0));
        let v4 = v4.filter_map(|(_, ip, len)| Ipv4Net::new(ip, len).ok());
        let v6 = v6.filter_map(|(_, ip, len)| Ipv6Net::new(ip, len).ok());
        v4.map(IpNet::V4).chain(v6.map(IpNet::V6))
    }

    fn has(self, purpose: Use) -> bool {
        match self {
            Self::Private => true,
            Self::Lan => matches!(purpose, Use::Site | Use::LinkLocal),
            Self::LinkLocal => purpose == Use::LinkLocal,
            Self::Multicast => purpose == Use::Many,
            Self::ThisHost => purpose == Use::ThisHost,
        }
    }
}

/// A set of ports with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PortSet {
    /// `dns-over-tls`: port 853, of DNS over TLS and over QUIC (RFC 7858, RFC 9250).
    DnsOverTls,
    /// `provider-refused`: ports that proxy providers commonly refuse, because they serve abuse
    /// more often than apps.
    ProviderRefused,
}

impl PortSet {
    /// All sets.
    pub const ALL: [Self; 2] = [Self::DnsOverTls, Self::ProviderRefused];

    /// The name in rules.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DnsOverTls => "dns-over-tls",
            Self::ProviderRefused => "provider-refused",
        }
    }

    /// The set of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|set| set.name() == name)
    }

    /// The ports of the set.
    pub fn ports(self) -> impl Iterator<Item = RangeInclusive<u16>> {
        const PROVIDER_REFUSED: &[u16] =
            &[0, 19, 25, 123, 161, 162, 179, 1_900, 3_283, 5_353, 11_211];
        let ports: &[u16] = match self {
            Self::DnsOverTls => &[853],
            Self::ProviderRefused => PROVIDER_REFUSED,
        };
        ports.iter().map(|&port| port..=port)
    }
}
