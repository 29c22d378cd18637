use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whom an address stands for (RFC 6890, RFC 1122 §3.2.1.3, RFC 4291).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// A single host, anywhere; private networks are told apart by policy, not here.
    Host,
    /// A single host on the same link: 169.254.0.0/16, `fe80::/10`.
    LinkLocal,
    /// This host itself: 127.0.0.0/8, `::1`.
    Loopback,
    /// Nobody: 0.0.0.0/8, `::`.
    Unspecified,
    /// Many hosts: 224.0.0.0/4, `ff00::/8`.
    Multicast,
    /// All hosts of a link: 255.255.255.255.
    Broadcast,
    /// Nobody yet, or nobody on the wire: 240.0.0.0/4, IPv4-mapped and site-local IPv6 addresses.
    Reserved,
}

impl Scope {
    /// The scope of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    /// Whether the address stands for one host, near or far.
    pub fn is_single_host(self) -> bool {
        matches!(self, Self::Host | Self::LinkLocal | Self::Loopback)
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [0, ..] => Self::Unspecified,
            [127, ..] => Self::Loopback,
            [169, 254, ..] => Self::LinkLocal,
            [224..=239, ..] => Self::Multicast,
            [255, 255, 255, 255] => Self::Broadcast,
            [240..=255, ..] => Self::Reserved,
            _ => Self::Host,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] => Self::Unspecified,
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            // RFC 4291 §2.5.5.2: no address of packets. RFC 3879: deprecated.
            [0, 0, 0, 0, 0, 0xFFFF, ..] | [0xFEC0..=0xFEFF, ..] => Self::Reserved,
            [0xFE80..=0xFEBF, ..] => Self::LinkLocal,
            [0xFF00..=0xFFFF, ..] => Self::Multicast,
            _ => Self::Host,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Scope;

    #[test]
    fn every_block_has_its_scope() {
        let table = [
            ("0.1.2.3", Scope::Unspecified),
            ("10.0.0.1", Scope::Host),
            ("127.0.0.53", Scope::Loopback),
            ("169.254.1.1", Scope::LinkLocal),
            ("223.255.255.255", Scope::Host),
            ("224.0.0.251", Scope::Multicast),
            ("239.255.255.250", Scope::Multicast),
            ("240.0.0.1", Scope::Reserved),
            ("255.255.255.255", Scope::Broadcast),
            ("::", Scope::Unspecified),
            ("::1", Scope::Loopback),
            ("::ffff:10.0.0.1", Scope::Reserved),
            ("64:ff9b::1", Scope::Host),
            ("2001:db8::1", Scope::Host),
            ("fd00::1", Scope::Host),
            ("fe80::1", Scope::LinkLocal),
            ("fec0::1", Scope::Reserved),
            ("ff02::fb", Scope::Multicast),
        ];
        for (address, scope) in table {
            assert_eq!(Scope::of(address.parse().unwrap()), scope, "{address}");
        }
    }
}
