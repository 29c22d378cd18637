use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::TunPort;

impl TunPort {
    /// A port on a descriptor that yields and takes exactly one IP packet a system call: the one of
    /// Android's `VpnService`, a TUN descriptor with `IFF_TUN | IFF_NO_PI` and without
    /// `IFF_VNET_HDR`, or a socket of type `SOCK_SEQPACKET` or `SOCK_DGRAM`.
    ///
    /// The port owns the descriptor, makes it non-blocking and closes it on drop. `mtu` is what the
    /// device was set to, in bytes. A TUN descriptor of another kind is `InvalidInput`.
    pub fn adopt(fd: OwnedFd, mtu: u32) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        check_kind(&fd)?;
        Self::new(fd, None, None, mtu)
    }

    /// The same for a descriptor that the process was started with and knows by its number.
    ///
    /// The port works on a duplicate, which it owns; `number` itself stays open and stays the
    /// caller's, non-blocking like the duplicate. Fails where no descriptor has that number.
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

/// Refuses TUN and TAP descriptors whose packets come with more than themselves.
#[cfg(target_os = "linux")]
fn check_kind(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: an `ifreq` is plain data, for which all zeros is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // SAFETY: `fd` is open, and TUNGETIFF writes one `ifreq` through a pointer that is valid.
    if unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNGETIFF, &raw mut request) } != 0 {
        return Ok(()); // no TUN: a socket, or a device of another system
    }
    // SAFETY: TUNGETIFF has set the flags, and every value of theirs is valid.
    let flags = libc::c_int::from(unsafe { request.ifr_ifru.ifru_flags });
    let foreign = [(libc::IFF_TAP, "Ethernet frames"), (libc::IFF_VNET_HDR, "virtio headers")];
    match foreign.into_iter().find(|(flag, _)| flags & flag != 0) {
        Some((_, what)) => {
            let message = format!("the descriptor carries {what}, not plain IP packets");
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
        None => Ok(()),
    }
}
