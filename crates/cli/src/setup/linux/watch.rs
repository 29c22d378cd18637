//! Tells when the kernel's routes change.

use std::io;
use std::time::Duration;

use futures::FutureExt as _;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, TokioSocket};
use nix::libc::{ENOBUFS, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE};
use tokio::time::sleep;

/// Changes come in bursts; after so long the kernel has done most of one.
const BURST: Duration = Duration::from_millis(100);

/// Octets of which one notification is read; what it says is asked for anew.
const NOTIFICATION: usize = 512;

/// The kernel's notifications, in the network namespace in which this was made.
pub(crate) struct Watch {
    socket: TokioSocket,
    /// Whether something has changed that nobody was told of.
    news: bool,
}

impl Watch {
    /// From now on changes are noticed.
    pub(crate) fn new() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        let groups = RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
        socket.socket_mut().bind(&netlink_sys::SocketAddr::new(0, groups.unsigned_abs()))?;
        Ok(Self { socket, news: false })
    }

    /// Waits until routes have changed. Nothing is lost when this is dropped meanwhile.
    pub(crate) async fn changed(&mut self) -> io::Result<()> {
        if !self.news {
            self.notified().await?;
            self.news = true;
        }
        sleep(BURST).await;
        while self.notified().now_or_never().transpose()?.is_some() {}
        self.news = false;
        Ok(())
    }

    /// Takes one notification. That the kernel has dropped some is one, too.
    async fn notified(&self) -> io::Result<()> {
        match self.socket.recv(&mut &mut [0; NOTIFICATION][..]).await {
            Err(error) if error.raw_os_error() != Some(ENOBUFS) => Err(error),
            _ => Ok(()),
        }
    }
}
