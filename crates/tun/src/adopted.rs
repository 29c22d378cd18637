use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use crate::TunPort;

impl TunPort {
    /// A port on a descriptor that yields and takes exactly one IP packet a system call: the one of
    /// Android's `VpnService`, a TUN descriptor with `IFF_TUN | IFF_NO_PI` and without
    /// `IFF_VNET_HDR`, or a socket of type `SOCK_SEQPACKET` or `SOCK_DGRAM`.
    ///
    /// The port owns the descriptor, makes it non-blocking and closes it on drop. `mtu` is what the
    /// device was set to, in bytes.
    pub fn adopt(fd: OwnedFd, mtu: u32) -> io::Result<Self> {
        Self::new(fd, None, None, mtu)
    }

    /// The same for a descriptor known by its number, as on a command line.
    ///
    /// # Safety
    ///
    /// `fd` must be open, and nothing else may own it: from now on the port does, and closes it on
    /// drop (also when this function fails).
    pub unsafe fn from_raw_fd(fd: RawFd, mtu: u32) -> io::Result<Self> {
        // SAFETY: the caller vouches that the descriptor is open and that nobody else owns it.
        Self::adopt(unsafe { OwnedFd::from_raw_fd(fd) }, mtu)
    }
}
