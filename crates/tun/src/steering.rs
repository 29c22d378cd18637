//! Has the kernel choose the queue of each flow by a table that lies in memory shared with it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::AtomicU8;

use pseudotcp_packet::FlowKey;

use self::mapping::Mapping;

mod bpf;
mod mapping;
mod program;

/// Through which queue of an interface the packets of each flow come out: for each
/// [bucket](FlowKey::bucket) of flows, the number of a queue. All zeros at first.
///
/// What is stored is in force for the next packet; of a number that no queue has the remainder counts.
/// Packets that show no flow of TCP or UDP come out of the first queue: fragments, ICMP errors, IPv6 with
/// extension headers.
///
/// An interface [goes by](crate::TunQueue::steer_by) it as long as that exists, also after this is dropped.
#[derive(Debug)]
pub struct SteeringTable {
    table: Mapping,
    program: OwnedFd,
}

impl SteeringTable {
    /// A table by which no interface goes yet.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_BPF`; others where the kernel has no eBPF, or is older than 5.5.
    pub fn new() -> io::Result<Self> {
        let map = bpf::array(FlowKey::BUCKETS)?;
        let table = Mapping::new(map.as_fd(), FlowKey::BUCKETS)?;
        let program = bpf::load(&program::steer_by(map.as_raw_fd()))?;
        Ok(Self { table, program })
    }

    /// Has the interface of `queue` go by it.
    pub(crate) fn attach(&self, queue: impl AsFd) -> io::Result<()> {
        bpf::attach(queue.as_fd(), self.program.as_fd())
    }
}

impl AsRef<[AtomicU8]> for SteeringTable {
    fn as_ref(&self) -> &[AtomicU8] {
        self.table.bytes()
    }
}
