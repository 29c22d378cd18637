use std::net::IpAddr;

use ipnet::IpNet;

use crate::ranges::RangeSet;

/// A set of IP addresses of both versions, made of CIDR blocks.
///
/// Blocks that overlap are merged, so the set is as small as what it says; a look-up is O(log n)
/// and touches nothing but one array. Host bits of a block are ignored: `10.0.0.1/8` is `10.0.0.0/8`.
/// An IPv4-mapped IPv6 address is an IPv6 address: only IPv6 blocks match it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CidrSet {
    v4: RangeSet<u32>,
    v6: RangeSet<u128>,
}

impl CidrSet {
    /// Whether a block of the set holds the address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.v4.contains(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.contains(v6.to_bits()),
        }
    }

    /// Whether the set holds no address at all.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

impl FromIterator<IpNet> for CidrSet {
    fn from_iter<I: IntoIterator<Item = IpNet>>(blocks: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for block in blocks {
            match block {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        Self { v4: v4.into_iter().collect(), v6: v6.into_iter().collect() }
    }
}
