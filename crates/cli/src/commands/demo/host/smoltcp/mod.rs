//! A host on smoltcp, an independent TCP/IP stack, in place of the kernel.

mod device;
mod socket;

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::poll_fn;
use futures::task::AtomicWaker;
use futures::{SinkExt, StreamExt};
use pseudotcp_packet::Packet;
use pseudotcp_tun::channel::ChannelPort;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::{HardwareAddress, IpCidr};
use tokio::time::Sleep;

use self::device::Queues;
use self::socket::{TcpHandle, UdpHandle};
use super::Host;

/// The first of the local ports that sockets get in turn.
const FIRST_PORT: u16 = 10_000;
/// The buffer of a socket in each direction, in bytes.
const BUFFER: usize = 128 * 1024;
/// How many datagrams a UDP socket buffers in each direction.
const DATAGRAMS: usize = 64;

/// A host in this process, joined to a packet port.
#[derive(Clone)]
pub(in super::super) struct SmoltcpHost {
    net: Rc<RefCell<Net>>,
}

/// The host's interface and its sockets.
struct Net {
    interface: Interface,
    sockets: SocketSet<'static>,
    queues: Queues,
    next_port: u16,
    /// TCP sockets that their owner has dropped; they live on until they are closed.
    closing: Vec<SocketHandle>,
    /// Time zero of smoltcp's clock.
    epoch: Instant,
    /// Wakes the driver when a socket was used.
    driver: Rc<AtomicWaker>,
}

impl SmoltcpHost {
    /// A host with the given addresses.
    pub(in super::super) fn new(v4: Ipv4Addr, v6: Ipv6Addr, mtu: usize) -> Self {
        let mut queues = Queues::new(mtu);
        let start = smoltcp::time::Instant::ZERO;
        let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut queues, start);
        interface.update_ip_addrs(|addresses| {
            // The interface has room for two addresses and more.
            let _ = addresses.push(IpCidr::new(v4.into(), 0));
            let _ = addresses.push(IpCidr::new(v6.into(), 0));
        });
        let net = Net {
            interface,
            sockets: SocketSet::new(Vec::new()),
            queues,
            next_port: FIRST_PORT,
            closing: Vec::new(),
            epoch: now(),
            driver: Rc::default(),
        };
        Self { net: Rc::new(RefCell::new(net)) }
    }

    /// Moves packets between the host and `port` until the port ends.
    pub(in super::super) async fn drive(&self, mut port: ChannelPort) -> io::Result<()> {
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            let mut net = self.net.borrow_mut();
            net.driver.register(cx.waker());
            while net.queues.has_room_in() {
                match port.poll_next_unpin(cx) {
                    Poll::Ready(Some(packet)) => net.queues.receive(&packet?),
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Pending => break,
                }
            }
            net.poll();
            net.send(&mut port, cx)?;
            timer = net.poll_delay().map(|delay| Box::pin(tokio::time::sleep(delay)));
            if timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready()) {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await
    }
}

impl Net {
    fn poll(&mut self) {
        let time = self.time();
        self.interface.poll(time, &mut self.queues, &mut self.sockets);
        let sockets = &mut self.sockets;
        self.closing.retain(|&handle| {
            let open = sockets.get::<tcp::Socket<'_>>(handle).is_open();
            if !open {
                sockets.remove(handle);
            }
            open
        });
    }

    /// Closes a TCP socket whose owner has no more use for it.
    fn close(&mut self, handle: SocketHandle) {
        self.tcp(handle).close();
        self.closing.push(handle);
        self.kick();
    }

    fn send(&mut self, port: &mut ChannelPort, cx: &mut Context<'_>) -> io::Result<()> {
        while self.queues.has_output() {
            match port.poll_ready_unpin(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => break,
            }
            if let Some(Ok(packet)) = self.queues.transmitted().map(Packet::parse) {
                port.start_send_unpin(packet)?;
            }
        }
        match port.poll_flush_unpin(cx) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }

    fn poll_delay(&mut self) -> Option<Duration> {
        let time = self.time();
        self.interface.poll_delay(time, &self.sockets).map(Into::into)
    }

    fn time(&self) -> smoltcp::time::Instant {
        let elapsed = now().duration_since(self.epoch);
        smoltcp::time::Instant::ZERO + elapsed.into()
    }

    fn local_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
        port
    }

    /// Has the driver look at what a socket was given.
    fn kick(&self) {
        self.driver.wake();
    }

    fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    fn udp(&mut self, handle: SocketHandle) -> &mut udp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    fn connect(&mut self, target: SocketAddr) -> io::Result<SocketHandle> {
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        let port = self.local_port();
        socket.connect(self.interface.context(), target, port).map_err(io::Error::other)?;
        let handle = self.sockets.add(socket);
        self.kick();
        Ok(handle)
    }

    fn bind(&mut self, target: IpAddr) -> io::Result<SocketHandle> {
        let buffer = || {
            let metadata = vec![udp::PacketMetadata::EMPTY; DATAGRAMS];
            udp::PacketBuffer::new(metadata, vec![0; BUFFER])
        };
        let mut socket = udp::Socket::new(buffer(), buffer());
        let local = self.interface.get_source_address(&target.into());
        let port = self.local_port();
        socket
            .bind((local.ok_or(io::ErrorKind::AddrNotAvailable)?, port))
            .map_err(io::Error::other)?;
        Ok(self.sockets.add(socket))
    }
}

impl Host for SmoltcpHost {
    type Stream = TcpHandle;
    type Datagrams = UdpHandle;

    async fn connect(&self, target: SocketAddr) -> io::Result<TcpHandle> {
        let handle = self.net.borrow_mut().connect(target)?;
        let stream = TcpHandle::new(Rc::clone(&self.net), handle);
        stream.connected().await?;
        Ok(stream)
    }

    async fn datagrams(&self, target: SocketAddr) -> io::Result<UdpHandle> {
        let handle = self.net.borrow_mut().bind(target.ip())?;
        Ok(UdpHandle::new(Rc::clone(&self.net), handle, target))
    }
}

#[expect(clippy::disallowed_methods, reason = "smoltcp's clock runs in real time here")]
fn now() -> Instant {
    Instant::now()
}
