use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

/// What an IP packet carries, by its IANA protocol number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP (6).
    Tcp,
    /// UDP (17).
    Udp,
    /// ICMP (1).
    Icmp,
    /// `ICMPv6` (58).
    Icmpv6,
    /// Any other number.
    Other(u8),
}

impl Protocol {
    /// The IANA number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Icmp => 1,
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmpv6 => 58,
            Self::Other(number) => number,
        }
    }
}

impl From<u8> for Protocol {
    fn from(number: u8) -> Self {
        match number {
            1 => Self::Icmp,
            6 => Self::Tcp,
            17 => Self::Udp,
            58 => Self::Icmpv6,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.write_str("tcp"),
            Self::Udp => f.write_str("udp"),
            Self::Icmp => f.write_str("icmp"),
            Self::Icmpv6 => f.write_str("icmp6"),
            Self::Other(number) => write!(f, "ip-proto-{number}"),
        }
    }
}

/// The five-tuple that names a flow; both addresses are of one IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    source: IpAddr,
    destination: IpAddr,
    source_port: u16,
    destination_port: u16,
    protocol: Protocol,
}

impl FlowKey {
    /// The flow from `source` to `destination`. Scope ids and flow labels are no part of a key;
    /// where the versions differ, the IPv4 address takes its IPv4-mapped form (RFC 4291 §2.5.5.2).
    pub fn new(protocol: Protocol, source: SocketAddr, destination: SocketAddr) -> Self {
        let (from, to) = same_version(source.ip(), destination.ip());
        Self {
            source: from,
            destination: to,
            source_port: source.port(),
            destination_port: destination.port(),
            protocol,
        }
    }

    /// The protocol.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Who sends.
    pub const fn source(&self) -> SocketAddr {
        SocketAddr::new(self.source, self.source_port)
    }

    /// Who receives.
    pub const fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.destination, self.destination_port)
    }

    /// The key of the packets that travel the other way.
    #[must_use]
    pub const fn reversed(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol: self.protocol,
        }
    }

    /// Whether the addresses are IPv6 ones.
    pub const fn is_ipv6(&self) -> bool {
        self.source.is_ipv6()
    }

    /// How many buckets there are.
    pub const BUCKETS: usize = 1 << (u32::BITS - Self::UNUSED_BITS);

    /// What the addresses of a flow, one XOR the other, are multiplied by: see [`bucket`](Self::bucket).
    pub const ADDRESS_FACTOR: u32 = 0x85eb_ca77;

    /// What its ports are multiplied by.
    pub const PORT_FACTOR: u32 = 0x9e37_79b1;

    /// So many of the lower bits of what both give, one XOR the other, do not count.
    pub const UNUSED_BITS: u32 = 20;

    /// Which of [`BUCKETS`](Self::BUCKETS) the flow is in when flows are spread: the same for both
    /// directions, and for TCP and UDP. Simple enough for a program of a few instructions that the
    /// kernel runs for each packet, which is why its parts are public.
    pub fn bucket(&self) -> usize {
        let addresses = folded(self.source) ^ folded(self.destination);
        let ports = u32::from(self.source_port ^ self.destination_port);
        let mixed =
            addresses.wrapping_mul(Self::ADDRESS_FACTOR) ^ ports.wrapping_mul(Self::PORT_FACTOR);
        (mixed >> Self::UNUSED_BITS) as usize
    }
}

/// An address's words of 32 bits, XOR each other.
fn folded(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(v6) => {
            let octets = v6.octets();
            let (words, _) = octets.as_chunks();
            words.iter().fold(0, |folded, word| folded ^ u32::from_be_bytes(*word))
        }
    }
}

fn same_version(source: IpAddr, destination: IpAddr) -> (IpAddr, IpAddr) {
    match (source, destination) {
        (IpAddr::V4(v4), IpAddr::V6(_)) => (v4.to_ipv6_mapped().into(), destination),
        (IpAddr::V6(_), IpAddr::V4(v4)) => (source, v4.to_ipv6_mapped().into()),
        _ => (source, destination),
    }
}

/// Few and wide writes: the derived form would feed the hasher ten small pieces.
impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ports = u64::from(self.source_port) << 16 | u64::from(self.destination_port);
        state.write_u64(u64::from(self.protocol.number()) << 32 | ports);
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                state.write_u64(
                    u64::from(source.to_bits()) << 32 | u64::from(destination.to_bits()),
                );
            }
            (source, destination) => {
                state.write_u128(bits(source));
                state.write_u128(bits(destination));
            }
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// `tcp 10.0.0.1:1234 > 192.0.2.7:80`
impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} > {}", self.protocol, self.source(), self.destination())
    }
}

#[cfg(test)]
mod tests {
    use super::{FlowKey, Protocol};

    fn key(source: &str, destination: &str) -> FlowKey {
        FlowKey::new(Protocol::Tcp, source.parse().unwrap(), destination.parse().unwrap())
    }

    #[test]
    fn d03_every_part_of_the_five_tuple_counts() {
        let base = key("10.0.0.1:1", "10.0.0.2:2");
        assert_ne!(base, key("10.0.0.3:1", "10.0.0.2:2"));
        assert_ne!(base, key("10.0.0.1:9", "10.0.0.2:2"));
        assert_ne!(base, key("10.0.0.1:1", "10.0.0.3:2"));
        assert_ne!(base, key("10.0.0.1:1", "10.0.0.2:9"));
        assert_ne!(base, FlowKey::new(Protocol::Udp, base.source(), base.destination()));
        assert_eq!(base.reversed().reversed(), base);
    }

    #[test]
    fn mixed_versions_become_ipv6() {
        let mixed = key("10.0.0.1:1", "[2001:db8::1]:2");
        assert!(mixed.is_ipv6());
        assert_eq!(mixed.to_string(), "tcp [::ffff:10.0.0.1]:1 > [2001:db8::1]:2");
    }

    #[test]
    fn both_directions_are_in_one_bucket_and_flows_spread() {
        let mut flows = [0_u16; FlowKey::BUCKETS];
        for port in 0..u16::MAX {
            let flow = key(&format!("10.0.0.1:{port}"), "192.0.2.7:443");
            assert_eq!(flow.bucket(), flow.reversed().bucket());
            flows[flow.bucket()] += 1;
        }
        assert!(flows.iter().all(|flows| (12..=20).contains(flows)), "{flows:?}");
    }

    #[test]
    fn a_key_is_small() {
        assert_eq!(size_of::<FlowKey>(), 40);
    }
}
