//! A smoltcp host joined to a pipeline by [`splice`], in tokio's paused time.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::{Sink, Stream};
use pseudotcp_packet::Packet;
use pseudotcp_pipeline::{PacketPort, splice};
use pseudotcp_testkit::{HostConfig, Node, SmoltcpHost, TcpId, TcpState, UdpId};
use tokio::time::{Sleep, sleep_until};

/// Longer than any test should need, in virtual time.
const PATIENCE: Duration = Duration::from_mins(10);

/// A host, and the stage that its packets go to.
pub struct Lab<P> {
    pub host: Rc<RefCell<SmoltcpHost>>,
    pub port: P,
    device: Device,
    next_port: u16,
    /// How often the splice was polled.
    pub polls: usize,
}

impl<P: PacketPort> Lab<P> {
    pub fn new(port: P) -> Self {
        let config = HostConfig::new("10.0.0.1".parse().unwrap())
            .with_address("fd00::1".parse().unwrap())
            .with_buffers(256 * 1024, 256 * 1024);
        let host = Rc::new(RefCell::new(SmoltcpHost::new(config, now())));
        let device = Device { host: Rc::clone(&host), timer: None };
        Self { host, port, device, next_port: 10_000, polls: 0 }
    }

    pub fn connect(&mut self, target: &str) -> TcpId {
        let target: SocketAddr = target.parse().unwrap();
        let local = SocketAddr::new(source(target), self.local_port());
        self.host.borrow_mut().connect(local, target)
    }

    pub fn bind(&mut self, target: &str) -> UdpId {
        let local = SocketAddr::new(source(target.parse().unwrap()), self.local_port());
        self.host.borrow_mut().bind(local)
    }

    /// Lets packets and time pass until `done`.
    pub async fn until(&mut self, mut done: impl FnMut(&mut SmoltcpHost) -> bool) {
        let polls = &mut self.polls;
        let mut splicing = splice(&mut self.device, &mut self.port);
        let host = &self.host;
        let run = poll_fn(|cx| {
            *polls += 1;
            let ended = Pin::new(&mut splicing).poll(cx);
            assert!(ended.is_pending(), "the splice ended: {ended:?}");
            if done(&mut host.borrow_mut()) { Poll::Ready(()) } else { Poll::Pending }
        });
        tokio::time::timeout(PATIENCE, run).await.expect("nothing more will happen");
    }

    /// Lets packets pass for a while.
    pub async fn pass(&mut self, time: Duration) {
        let polls = &mut self.polls;
        let mut splicing = splice(&mut self.device, &mut self.port);
        let run = poll_fn(|cx| {
            *polls += 1;
            Pin::new(&mut splicing).poll(cx)
        });
        let ended = tokio::time::timeout(time, run).await;
        assert!(ended.is_err(), "the splice ended: {ended:?}");
    }

    pub async fn until_state(&mut self, id: TcpId, state: TcpState) {
        self.until(|host| host.state(id) == state).await;
    }

    /// Sends all of `bytes`.
    pub async fn send(&mut self, id: TcpId, bytes: &[u8]) {
        let mut sent = 0;
        self.until(|host| {
            sent += host.send(id, &bytes[sent..]);
            sent == bytes.len()
        })
        .await;
    }

    /// Receives exactly `len` bytes.
    pub async fn recv(&mut self, id: TcpId, len: usize) -> Vec<u8> {
        let mut received = Vec::new();
        self.until(|host| {
            received.extend_from_slice(&host.recv(id, len - received.len()));
            received.len() == len
        })
        .await;
        received
    }

    fn local_port(&mut self) -> u16 {
        self.next_port += 1;
        self.next_port
    }
}

fn source(target: SocketAddr) -> std::net::IpAddr {
    let source = if target.is_ipv4() { "10.0.0.1" } else { "fd00::1" };
    source.parse().unwrap()
}

pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The host as a packet port.
struct Device {
    host: Rc<RefCell<SmoltcpHost>>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stream for Device {
    type Item = io::Result<Packet>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let host = Rc::clone(&self.host);
        let mut host = host.borrow_mut();
        loop {
            if let Some(packet) = host.poll_transmit(now()) {
                return Poll::Ready(Some(Ok(packet)));
            }
            let Some(deadline) = host.poll_timeout() else {
                self.timer = None;
                return Poll::Pending;
            };
            let timer = self.timer.insert(Box::pin(sleep_until(deadline.into())));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            host.handle_timeout(now());
        }
    }
}

impl Sink<Packet> for Device {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, packet: Packet) -> io::Result<()> {
        self.host.borrow_mut().handle_packet(now(), &packet);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What the host answers is read in the next round.
        if self.host.borrow_mut().poll_timeout().is_some_and(|deadline| deadline <= now()) {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
