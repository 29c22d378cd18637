//! Which targets may be reached. The check is made on the resolved address, so that no name can
//! lead where its address may not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Ranges that are not the public Internet (RFC 6890 and its registries): private, shared,
/// link-local, loopback, benchmarking and reserved addresses.
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
    "::1/128",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
];

/// The rules, in the order of their force: never, allowed, denied, private.
#[derive(Clone, Debug, Default)]
pub(crate) struct AddressPolicy {
    allowed: Vec<IpNet>,
    denied: Vec<IpNet>,
    private: Vec<IpNet>,
}

impl AddressPolicy {
    pub(crate) fn allow(&mut self, net: IpNet) {
        self.allowed.push(net);
    }

    pub(crate) fn deny(&mut self, net: IpNet) {
        self.denied.push(net);
    }

    /// Denies the private ranges too, but for what was allowed by name.
    pub(crate) fn deny_private(&mut self) {
        self.private = PRIVATE.iter().filter_map(|net| net.parse().ok()).collect();
    }

    /// Whether a tunnel to this address may be opened.
    pub(crate) fn permits(&self, address: IpAddr) -> bool {
        let address = embedded_ipv4(address);
        let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        if address.is_unspecified() || address.is_multicast() || is_broadcast(address) {
            return false;
        }
        within(&self.allowed) || !(within(&self.denied) || within(&self.private))
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
        policy.permits(address.parse().unwrap())
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
    fn some_addresses_are_nobody() {
        let policy = AddressPolicy::default();
        for nobody in ["0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "ff02::1"] {
            assert!(!permits(&policy, nobody), "{nobody}");
        }
        assert!(permits(&policy, "127.0.0.1"));
    }
}
