//! Which targets may be reached. The check is made on the resolved address, so that no name can
//! lead where its address may not.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;

/// Ranges that are not the public Internet (RFC 6890 and its registries): private, shared,
/// link-local, loopback, benchmarking and reserved addresses, and those of IPv6 that lead to IPv4 ones
/// by other rules than the well-known prefix of NAT64.
const PRIVATE: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "240.0.0.0/4",
    "::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
];

/// Which targets a rule is about: a network, or every address, and the ports there.
///
/// Written as `192.0.2.0/24`, `192.0.2.0/24:443`, `[2001:db8::]/32:8000-8999` or `*:25`; a single
/// address stands for itself.
///
/// ```
/// # use pseudotcp_proxy::Rule;
/// let rule: Rule = "[2001:db8::]/32:8000-8999".parse()?;
/// assert_eq!(rule.to_string(), "[2001:db8::]/32:8000-8999");
/// # Ok::<(), pseudotcp_proxy::InvalidRule>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    net: Option<IpNet>,
    ports: RangeInclusive<u16>,
}

/// A text that is no [`Rule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a rule reads NETWORK, NETWORK:PORT or NETWORK:PORT-PORT; the network may be *, IPv6 with ports is in brackets"
)]
pub struct InvalidRule;

const ALL_PORTS: RangeInclusive<u16> = 0..=u16::MAX;

impl Rule {
    fn covers(&self, address: IpAddr, port: u16) -> bool {
        self.net.is_none_or(|net| net.contains(&address)) && self.ports.contains(&port)
    }
}

impl From<IpNet> for Rule {
    fn from(net: IpNet) -> Self {
        Self { net: Some(net), ports: ALL_PORTS }
    }
}

impl FromStr for Rule {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        // IPv6 without brackets is all network.
        if let Some(net) = parse_net(text) {
            return Ok(net.into());
        }
        let (net, ports) = match text.rsplit_once(':') {
            Some((net, ports)) => (net, parse_ports(ports).ok_or(InvalidRule)?),
            None => (text, ALL_PORTS),
        };
        let net = match net {
            "*" => None,
            net => Some(parse_bracketed(net).ok_or(InvalidRule)?),
        };
        Ok(Self { net, ports })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.net {
            None => f.write_str("*")?,
            Some(IpNet::V6(net)) if self.ports != ALL_PORTS => {
                write!(f, "[{}]/{}", net.addr(), net.prefix_len())?;
            }
            Some(net) => net.fmt(f)?,
        }
        match (self.ports.start(), self.ports.end()) {
            _ if self.ports == ALL_PORTS => Ok(()),
            (first, last) if first == last => write!(f, ":{first}"),
            (first, last) => write!(f, ":{first}-{last}"),
        }
    }
}

/// A network, or an address alone.
fn parse_net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// A network of IPv4, or one of IPv6 with its address in brackets.
fn parse_bracketed(text: &str) -> Option<IpNet> {
    match text.strip_prefix('[') {
        Some(rest) => parse_net(&rest.split_once(']').map(|(a, prefix)| [a, prefix].concat())?),
        None => parse_net(text).filter(|net| net.addr().is_ipv4()),
    }
}

fn parse_ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (parse_port(first)?, parse_port(last)?);
    (first <= last).then_some(first..=last)
}

/// A port in decimal digits, 1 to 65,535.
fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

/// The rules, in the order of their force: never, private, allowed, denied.
#[derive(Clone, Debug, Default)]
pub(crate) struct AddressPolicy {
    allowed: Vec<Rule>,
    denied: Vec<Rule>,
    private: Vec<IpNet>,
}

impl AddressPolicy {
    pub(crate) fn allow(&mut self, rule: Rule) {
        self.allowed.push(rule);
    }

    pub(crate) fn deny(&mut self, rule: Rule) {
        self.denied.push(rule);
    }

    /// Denies the private ranges too, but for what an allowing rule names by its network.
    pub(crate) fn deny_private(&mut self) {
        self.private = PRIVATE.iter().filter_map(|net| net.parse().ok()).collect();
    }

    /// Whether a tunnel to this address may be opened.
    pub(crate) fn permits(&self, target: SocketAddr) -> bool {
        let (address, port) = (embedded_ipv4(target.ip()), target.port());
        if address.is_unspecified() || address.is_multicast() || is_broadcast(address) {
            return false;
        }
        let mut allowing = self.allowed.iter().filter(|rule| rule.covers(address, port));
        if self.private.iter().any(|net| net.contains(&address)) {
            return allowing.any(|rule| rule.net.is_some());
        }
        allowing.next().is_some() || !self.denied.iter().any(|rule| rule.covers(address, port))
    }
}

/// The IPv4 address that an IPv4-mapped (RFC 4291 §2.5.5.2) or NAT64 (RFC 6052 §2.1) address
/// leads to; any other address as it is.
fn embedded_ipv4(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => IpAddr::V4(low_ipv4(v6)),
        _ => address.to_canonical(),
    }
}

fn low_ipv4(address: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c, d)
}

fn is_broadcast(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.is_broadcast())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(policy: &AddressPolicy, address: &str) -> bool {
        policy.permits(SocketAddr::new(address.parse().unwrap(), 443))
    }

    #[test]
    fn private_ranges_are_denied_in_every_disguise() {
        let mut policy = AddressPolicy::default();
        policy.deny_private();
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::a00:1",
            "2002:7f00:1::",
            "::127.0.0.1",
        ] {
            assert!(!permits(&policy, private), "{private}");
        }
        for public in ["192.0.2.1", "8.8.8.8", "2001:db8::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
        {
            assert!(permits(&policy, public), "{public}");
        }
    }

    #[test]
    fn every_private_range_is_well_formed() {
        let mut policy = AddressPolicy::default();
        policy.deny_private();
        assert_eq!(policy.private.len(), PRIVATE.len());
    }

    #[test]
    fn what_is_allowed_by_name_wins() {
        let mut policy = AddressPolicy::default();
        policy.deny_private();
        policy.allow("10.9.0.0/16".parse().unwrap());
        policy.deny("192.0.2.0/24".parse().unwrap());
        assert!(permits(&policy, "10.9.1.1") && permits(&policy, "::ffff:10.9.1.1"));
        assert!(!permits(&policy, "10.8.1.1") && !permits(&policy, "192.0.2.77"));
    }

    #[test]
    fn rules_may_name_ports() {
        let mut policy = AddressPolicy::default();
        policy.deny_private();
        for rule in ["10.9.0.0/16:80-90", "[fd00::]/8:443", "*:587"] {
            policy.allow(rule.parse().unwrap());
        }
        for rule in ["*:25", "*:587", "192.0.2.7", "2001:db8::/32"] {
            policy.deny(rule.parse().unwrap());
        }
        for (target, permitted) in [
            ("10.9.1.1:80", true),
            ("10.9.1.1:91", false),
            ("[fd00::1]:443", true),
            ("[fd00::1]:80", false),
            // A port that is open for all opens nothing private.
            ("10.8.1.1:587", false),
            ("8.8.8.8:587", true),
            ("8.8.8.8:25", false),
            ("192.0.2.7:443", false),
            ("192.0.2.8:443", true),
            ("[2001:db8::1]:443", false),
        ] {
            assert_eq!(policy.permits(target.parse().unwrap()), permitted, "{target}");
        }
    }

    #[test]
    fn rules_are_read_and_shown() {
        for text in [
            "*:25",
            "*",
            "192.0.2.0/24",
            "192.0.2.0/24:1-9",
            "2001:db8::/32",
            "[2001:db8::]/32:443",
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
        for (text, shown) in
            [("192.0.2.1", "192.0.2.1/32"), ("[::1]:443", "[::1]/128:443"), ("::1", "::1/128")]
        {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), shown);
        }
        for bad in
            ["", ":", "*:", "*:0", "*:9-1", "*:70000", "a.test:1", "192.0.2.0/33", "[::1:443"]
        {
            assert_eq!(bad.parse::<Rule>(), Err(InvalidRule), "{bad}");
        }
    }

    #[test]
    fn some_addresses_are_nobody() {
        let policy = AddressPolicy::default();
        for nobody in ["0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "ff02::1"] {
            assert!(!permits(&policy, nobody), "{nobody}");
        }
        assert!(permits(&policy, "127.0.0.1"));
    }
}
