//! The device: a new TUN interface, or a descriptor that was handed in.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;

use anyhow::{Context as _, Result};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use pseudotcp_tun::{LinuxTun, TunConfig, TunPort, TunQueue};

use super::args::DeviceArgs;
use super::explain;
use super::sharding::Sharding;

/// The addresses of the interface unless others are given.
const DEFAULT_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 99, 99, 10), 24);
const DEFAULT_V6: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd99, 0x99, 0, 0, 0, 0, 0, 0x10), 64);

/// Tells whether IPv6 is switched off; absent where the kernel has none.
const IPV6_SWITCH: &str = "/proc/sys/net/ipv6/conf/default/disable_ipv6";

/// The device before it is read.
pub(super) struct Device {
    /// Of an interface that was made here.
    pub(super) name: Option<String>,
    /// As many as there are shards.
    pub(super) queues: Vec<Queue>,
}

/// One of the device's queues.
pub(super) enum Queue {
    Made(TunQueue),
    HandedIn { number: RawFd, mtu: u16 },
}

impl Queue {
    /// The port on it, for the current runtime.
    pub(super) fn open(self) -> Result<TunPort> {
        match self {
            Self::Made(queue) => queue.open().context("opening the device"),
            Self::HandedIn { number, mtu } => TunPort::inherit(number, mtu.into())
                .with_context(|| format!("taking over descriptor {number}")),
        }
    }
}

/// Makes the device with a queue for each shard, unless one is handed in.
pub(super) fn make(args: &DeviceArgs, sharding: &Sharding) -> Result<Device> {
    if let Some(number) = args.tun_fd {
        return Ok(Device { name: None, queues: vec![Queue::HandedIn { number, mtu: args.mtu }] });
    }
    let mut config = TunConfig::default().mtu(args.mtu).offload(!args.no_offload);
    if let Some(name) = &args.name {
        config = config.name(name);
    }
    for address in addresses(args) {
        config = config.address(address);
    }
    let queues = LinuxTun::create_queues(config, sharding.count.into());
    let queues = queues.map_err(explain::no_interface)?;
    if let (Some(table), [first, ..]) = (&sharding.steering, &queues[..]) {
        first.steer_by(table).context("telling the kernel which thread shall read a flow")?;
    }
    let name = queues.first().map(|queue| queue.name().to_owned());
    Ok(Device { name, queues: queues.into_iter().map(Queue::Made).collect() })
}

/// The addresses of the device with their networks, as far as they are known.
pub(super) fn networks(args: &DeviceArgs) -> Vec<IpNet> {
    if args.tun_fd.is_some() { Vec::new() } else { addresses(args) }
}

/// Whether apps can reach the interface by IPv6; of one that was handed in that is not known.
pub(super) fn has_ipv6(args: &DeviceArgs) -> bool {
    args.tun_fd.is_some() || addresses(args).iter().any(|address| address.addr().is_ipv6())
}

/// For each IP version of the interface an address that no one has, and that is reached through it.
pub(super) fn neighbours(args: &DeviceArgs) -> Vec<IpAddr> {
    let addresses = networks(args);
    let first = |is_ipv6| addresses.iter().find(move |net| net.addr().is_ipv6() == is_ipv6);
    [false, true].into_iter().filter_map(first).filter_map(|net| neighbour(*net)).collect()
}

/// The next address of the network, or the one before. The first and the last of an IPv4 network are
/// no host's.
fn neighbour(address: IpNet) -> Option<IpAddr> {
    let (next, before) = match address.addr() {
        IpAddr::V4(v4) => {
            let near = |by| v4.to_bits().checked_add_signed(by).map(|bits| IpAddr::V4(bits.into()));
            (near(1), near(-1))
        }
        IpAddr::V6(v6) => {
            let near = |by| v6.to_bits().checked_add_signed(by).map(|bits| IpAddr::V6(bits.into()));
            (near(1), near(-1))
        }
    };
    let is_host = |ip: &IpAddr| {
        address.contains(ip) && *ip != address.network() && *ip != address.broadcast()
    };
    next.filter(is_host).or(before.filter(is_host)).or(next)
}

fn addresses(args: &DeviceArgs) -> Vec<IpNet> {
    if !args.addresses.is_empty() {
        return args.addresses.clone();
    }
    let has_ipv6 = fs::read_to_string(IPV6_SWITCH).is_ok_and(|switch| switch.trim() == "0");
    let v6 = has_ipv6.then_some(IpNet::V6(DEFAULT_V6));
    [IpNet::V4(DEFAULT_V4)].into_iter().chain(v6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_is_a_host_of_the_same_network_where_there_is_room() {
        for (address, expected) in [
            ("10.99.99.10/24", "10.99.99.11"),
            ("10.99.99.254/24", "10.99.99.253"),
            ("10.99.99.10/32", "10.99.99.11"),
            ("255.255.255.255/32", ""),
            ("fd99:99::10/64", "fd99:99::11"),
            ("fd99:99::10/128", "fd99:99::11"),
        ] {
            let found = neighbour(address.parse().unwrap()).map(|ip| ip.to_string());
            assert_eq!(found.unwrap_or_default(), expected, "{address}");
        }
    }
}
