//! Datagrams of one size on their way to the target, in one system call where the kernel cuts them
//! apart itself (`UDP_SEGMENT`).

use std::io::{self, ErrorKind::WouldBlock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use nix::errno::Errno;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::relay::{Tally, is_passing};

/// How many datagrams every kernel that cuts takes at once.
const MOST: usize = 64;

/// How many bytes those have at the most: the longest payload of UDP over IPv4.
const MOST_BYTES: usize = 65_507;

/// Datagrams of one size; the last may be shorter.
pub(super) struct Run {
    datagrams: Vec<Bytes>,
    bytes: usize,
    /// Whether the kernel cuts datagrams apart, as far as is known.
    joins: bool,
}

impl Run {
    pub(super) fn new() -> Self {
        Self { datagrams: Vec::new(), bytes: 0, joins: cfg!(target_os = "linux") }
    }

    /// Whether one more datagram may be added.
    pub(super) fn takes(&self, next: &Bytes) -> bool {
        let Some(size) = self.datagrams.first().map(Bytes::len) else { return true };
        let ends_here = self.datagrams.last().is_some_and(|last| last.len() < size);
        let has_room = self.datagrams.len() < MOST && self.bytes + next.len() <= MOST_BYTES;
        self.joins && !ends_here && has_room && (1..=size).contains(&next.len())
    }

    pub(super) fn push(&mut self, datagram: Bytes) {
        self.bytes += datagram.len();
        self.datagrams.push(datagram);
    }

    /// Sends all, or as many as the socket takes; an error is one that concerns the target.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        socket: &UdpSocket,
        tally: &mut Tally,
    ) -> Poll<io::Result<()>> {
        while !self.datagrams.is_empty() {
            ready!(socket.poll_send_ready(cx))?;
            let count = if self.joins { self.datagrams.len() } else { 1 };
            let run = self.datagrams.get(..count).unwrap_or(&self.datagrams);
            match socket.try_io(Interest::WRITABLE, || send(socket, run)) {
                Ok(_) => run.iter().for_each(|datagram| tally.count(datagram.len())),
                Err(error) if error.kind() == WouldBlock => continue,
                Err(error) if count > 1 && is_about_joining(&error) => {
                    self.joins = false;
                    continue;
                }
                Err(error) if is_passing(&error) => tally.dropped += count as u64,
                Err(error) => return Poll::Ready(Err(error)),
            }
            self.datagrams.drain(..count);
        }
        // An idle tunnel keeps no room.
        (self.datagrams, self.bytes) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

/// Errors of kernels and devices that cannot cut, and of datagrams that the path's MTU does not carry
/// whole.
fn is_about_joining(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(code, Some(Errno::EINVAL | Errno::EIO | Errno::EMSGSIZE | Errno::EOPNOTSUPP))
}

#[cfg(target_os = "linux")]
fn send(socket: &UdpSocket, run: &[Bytes]) -> io::Result<usize> {
    use std::io::IoSlice;
    use std::os::fd::AsRawFd as _;

    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

    let slices: Vec<_> = run.iter().map(|datagram| IoSlice::new(datagram)).collect();
    let size = run.first().and_then(|first| u16::try_from(first.len()).ok()).unwrap_or(0);
    let cut = [ControlMessage::UdpGsoSegments(&size)];
    let control = if run.len() > 1 { &cut[..] } else { &[] };
    Ok(sendmsg::<()>(socket.as_raw_fd(), &slices, control, MsgFlags::empty(), None)?)
}

#[cfg(not(target_os = "linux"))]
fn send(socket: &UdpSocket, run: &[Bytes]) -> io::Result<usize> {
    run.first().map_or(Ok(0), |datagram| socket.try_send(datagram))
}
