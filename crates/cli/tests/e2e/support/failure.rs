//! What apps hear that connect in vain.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::errno::Errno;

use super::clock::timed;
use super::lab::Lab;

/// Every answer comes at once: the kernel's next SYN would come only after a second.
const AT_ONCE: Duration = Duration::from_millis(500);

/// Connects in vain, at once.
///
/// Linux drops an ICMP error that comes while `connect()` still holds the socket; the app then hears
/// the next one, after the kernel's second SYN, and one that does not block may hear of an error
/// without a number. It is rare and beyond our reach, so the call blocks, and an answer by ICMP has
/// three tries to be prompt; an RST is never dropped and has one.
pub(crate) fn fails(lab: &Lab, target: SocketAddr, expected: Errno, why: &str) {
    let tries = if expected == Errno::ECONNREFUSED { 1 } else { 3 };
    let took =
        (0..tries).map(|_| fails_once(lab, target, expected, why)).find(|took| *took < AT_ONCE);
    assert!(took.is_some(), "{why}: {target} was never told within {AT_ONCE:?}");
}

/// Connects in vain; returns the time it took.
fn fails_once(lab: &Lab, target: SocketAddr, expected: Errno, why: &str) -> Duration {
    let (outcome, took) = timed(|| lab.client.run(|| TcpStream::connect(target)));
    let error = outcome.expect_err(why);
    assert_eq!(errno(&error), expected, "{why}: {target}");
    took
}

/// The number of an error of the system.
pub(crate) fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().expect("an error of the system"))
}
