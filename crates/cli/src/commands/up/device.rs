//! The device: a new TUN interface, or a descriptor that was handed in.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use pseudotcp_tun::{LinuxTun, TunConfig, TunPort};

use super::args::DeviceArgs;
use super::explain;

/// The addresses of the interface unless others are given.
const DEFAULT_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 99, 99, 10), 24);
const DEFAULT_V6: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd99, 0x99, 0, 0, 0, 0, 0, 0x10), 64);

/// Tells whether IPv6 is switched off; absent where the kernel has none.
const IPV6_SWITCH: &str = "/proc/sys/net/ipv6/conf/default/disable_ipv6";

/// Opens the device.
pub(super) fn open(args: &DeviceArgs) -> Result<TunPort> {
    if let Some(number) = args.tun_fd {
        let port = TunPort::inherit(number, u32::from(args.mtu));
        return port.with_context(|| format!("taking over descriptor {number}"));
    }
    let mut config = TunConfig::default().mtu(args.mtu).offload(!args.no_offload);
    if let Some(name) = &args.name {
        config = config.name(name);
    }
    for address in addresses(args) {
        config = config.address(address);
    }
    LinuxTun::create(config).map_err(explain::no_interface)
}

/// The addresses of the device with their networks, as far as they are known.
pub(super) fn networks(args: &DeviceArgs) -> Vec<IpNet> {
    if args.tun_fd.is_some() { Vec::new() } else { addresses(args) }
}

/// Whether apps can reach the interface by IPv6; of one that was handed in that is not known.
pub(super) fn has_ipv6(args: &DeviceArgs) -> bool {
    args.tun_fd.is_some() || addresses(args).iter().any(|address| address.addr().is_ipv6())
}

fn addresses(args: &DeviceArgs) -> Vec<IpNet> {
    if !args.addresses.is_empty() {
        return args.addresses.clone();
    }
    let has_ipv6 = fs::read_to_string(IPV6_SWITCH).is_ok_and(|switch| switch.trim() == "0");
    let v6 = has_ipv6.then_some(IpNet::V6(DEFAULT_V6));
    [IpNet::V4(DEFAULT_V4)].into_iter().chain(v6).collect()
}
