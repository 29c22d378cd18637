//! The one place where an error of the operating system becomes a cause.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use pseudotcp_masque::{OpenError, TunnelError};

/// `ENFILE` and `EMFILE`, which have no [`ErrorKind`]: no more descriptors for the system, or for
/// this process.
const NO_DESCRIPTORS: [i32; 2] = [23, 24];

/// `EAFNOSUPPORT` on Linux, which has no [`ErrorKind`]: the kernel has no IPv6 at all.
const NO_ADDRESS_FAMILY: i32 = 97;

/// Why a connection to `address` failed.
pub(crate) fn of_open(error: io::Error, address: SocketAddr) -> OpenError {
    let os_error = error.raw_os_error();
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => OpenError::Refused(None),
        ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable if address.is_ipv6() => {
            OpenError::NoIpv6(None)
        }
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => OpenError::Unreachable(None),
        ErrorKind::TimedOut => OpenError::TimedOut(None),
        ErrorKind::PermissionDenied => OpenError::Denied(None),
        _ if os_error == Some(NO_ADDRESS_FAMILY) && address.is_ipv6() => OpenError::NoIpv6(None),
        _ if os_error.is_some_and(|code| NO_DESCRIPTORS.contains(&code)) => OpenError::overloaded(),
        _ => OpenError::Protocol(Box::new(error)),
    }
}

/// Why a TCP flow broke.
pub(crate) fn of_stream(error: io::Error) -> TunnelError {
    match error.kind() {
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NotConnected
        | ErrorKind::TimedOut => TunnelError::Reset,
        _ => TunnelError::Protocol(Box::new(error)),
    }
}

/// Why a UDP flow broke; `None` where only the one datagram is lost.
pub(crate) fn of_datagram(error: io::Error) -> Option<TunnelError> {
    match error.kind() {
        ErrorKind::ConnectionRefused
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable => Some(TunnelError::Unreachable),
        ErrorKind::NotConnected => Some(TunnelError::Protocol(Box::new(error))),
        // Too large for the path, no buffers, forbidden by a filter: datagrams may be lost.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(code: i32, address: &str) -> String {
        format!("{:?}", of_open(io::Error::from_raw_os_error(code), address.parse().unwrap()))
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn errors_of_linux_have_honest_causes() {
        const V4: &str = "192.0.2.1:443";
        const V6: &str = "[2001:db8::1]:443";
        assert_eq!(open(111, V4), "Refused(None)");
        assert_eq!(open(113, V4), "Unreachable(None)");
        assert_eq!(open(101, V4), "Unreachable(None)");
        assert_eq!(open(101, V6), "NoIpv6(None)");
        assert_eq!(open(99, V6), "NoIpv6(None)");
        assert_eq!(open(97, V6), "NoIpv6(None)");
        assert_eq!(open(113, V6), "Unreachable(None)");
        assert_eq!(open(110, V4), "TimedOut(None)");
        assert_eq!(open(13, V4), "Denied(None)");
        assert_eq!(open(24, V4), "Overloaded { retry_after: None, said: None }");
        assert!(open(22, V4).starts_with("Protocol"));
    }
}
