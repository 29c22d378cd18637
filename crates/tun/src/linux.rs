use std::fs;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use ipnet::IpNet;
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::offload::Offload;
use crate::{SteeringTable, TunPort, address};

/// How a TUN interface shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunConfig {
    name: Option<String>,
    addresses: Vec<IpNet>,
    mtu: u16,
    offload: bool,
}

/// MTU 1,500, offload on, no address, and a name that the kernel chooses.
impl Default for TunConfig {
    fn default() -> Self {
        Self { name: None, addresses: Vec::new(), mtu: 1_500, offload: true }
    }
}

impl TunConfig {
    /// The interface's name, of at most 15 bytes. By default the kernel takes the first free one of
    /// `tun0`, `tun1`, ….
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds an address with its prefix, usable as soon as the interface is there. The kernel adds the
    /// route of the prefix by itself.
    #[must_use]
    pub fn address(mut self, address: IpNet) -> Self {
        self.addresses.push(address);
        self
    }

    /// The largest packet in bytes, 1,500 by default; IPv6 needs at least 1,280. With offload a
    /// larger one gains little; without, it is worth several times the throughput.
    #[must_use]
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.mtu = mtu;
        self
    }

    /// Whether the kernel shall exchange super-segments and leave checksums undone; on by default.
    /// Off is for comparison and for kernels with faulty offload.
    #[must_use]
    pub fn offload(mut self, offload: bool) -> Self {
        self.offload = offload;
        self
    }
}

/// How many packets wait in the interface at the most: what a kernel makes of the first windows of some
/// hundred flows, or of the first words of thousands.
const QUEUE: u32 = 16_384;

/// Linux TUN interfaces.
#[derive(Debug)]
pub struct LinuxTun;

/// One of the queues of an interface, not read yet.
#[derive(Debug)]
pub struct TunQueue {
    fd: OwnedFd,
    offload: Option<Offload>,
    name: String,
    mtu: u16,
}

impl LinuxTun {
    /// Creates an interface, sets its addresses and MTU, brings it up, and opens the port on it.
    /// Its queue holds 16,384 packets, and the kernel looks for no routers there.
    /// The interface vanishes when the port is dropped, and with it its addresses and routes.
    ///
    /// Needs `CAP_NET_ADMIN` in the network namespace: `PermissionDenied` otherwise.
    pub fn create(config: TunConfig) -> io::Result<TunPort> {
        let mtu = config.mtu;
        TunQueue::new(create(config, false)?, mtu)?.open()
    }

    /// As [`create`](Self::create), with `count` queues (one at least, 256 at the most) instead of the
    /// port, each to be read by another thread. The kernel chooses a queue for each flow; once the flow
    /// is answered through another one, that one. Fragments and ICMP errors may come out of other queues
    /// than their flow. The interface vanishes with the last of its queues.
    pub fn create_queues(config: TunConfig, count: usize) -> io::Result<Vec<TunQueue>> {
        let mtu = config.mtu;
        let first = create(config, count > 1)?;
        let others = (1..count).map(|_| first.try_clone()).collect::<io::Result<Vec<_>>>()?;
        let devices = std::iter::once(first).chain(others);
        devices.map(|device| TunQueue::new(device, mtu)).collect()
    }
}

impl TunQueue {
    fn new(device: SyncDevice, mtu: u16) -> io::Result<Self> {
        let offload = device.tcp_gso().then(|| Offload { udp: device.udp_gso() });
        let name = device.name()?;
        // SAFETY: the device hands over a descriptor that it owned alone and no longer closes.
        let fd = unsafe { OwnedFd::from_raw_fd(device.into_raw_fd()) };
        Ok(Self { fd, offload, name, mtu })
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Has the kernel choose the queue of each flow by a table instead of by itself, from now on, on all
    /// queues of the interface.
    ///
    /// # Errors
    /// What the kernel says; one older than 4.16 cannot do it.
    pub fn steer_by(&self, table: &SteeringTable) -> io::Result<()> {
        table.attach(&self.fd)
    }

    /// The port on the queue, for the current runtime.
    ///
    /// # Errors
    /// Where the runtime can watch no more descriptors.
    pub fn open(self) -> io::Result<TunPort> {
        TunPort::new(self.fd, self.offload, Some(self.name), self.mtu.into())
    }
}

fn create(config: TunConfig, multi_queue: bool) -> io::Result<SyncDevice> {
    let mut builder = DeviceBuilder::new().mtu(config.mtu).offload(config.offload);
    if let Some(name) = config.name {
        builder = builder.name(name);
    }
    // Before a packet can be there: the kernel drops what it meets when the queue's length changes.
    let builder = builder.tx_queue_len(QUEUE).multi_queue(multi_queue);
    let device = builder.inherit_enable_state().build_sync()?;
    keep_quiet(&device.name()?);
    device.enabled(true)?;
    address::add(device.if_index()?, &config.addresses)?;
    Ok(device)
}

/// Has the kernel look for no routers there (RFC 4861 §6.3.7): none would answer, and each question wakes
/// the reader. Where this cannot be set, as in containers, it does.
fn keep_quiet(name: &str) {
    let _ignored = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/router_solicitations"), "0");
}
