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

    /// The same for a descriptor that the process was started with and knows by its number.
    ///
    /// The port works on a duplicate, which it owns; `number` itself stays open and stays the
    /// caller's. Fails where no descriptor has that number.
    pub fn inherit(number: RawFd, mtu: u32) -> io::Result<Self> {
        // SAFETY: the call takes no pointer; it neither closes nor changes `number`, and fails
        // cleanly where that is not open.
        let duplicate = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) };
        if duplicate < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor, so nobody else owns it.
        Self::adopt(unsafe { OwnedFd::from_raw_fd(duplicate) }, mtu)
    }
}
