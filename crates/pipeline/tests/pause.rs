//! The process is not scheduled for a while: what waits in the device then counts before what a
//! timer says.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{Sink, Stream};
use pseudotcp_masque_mock::{Mock, Script};
use pseudotcp_packet::build::{TcpSegment, datagram};
use pseudotcp_packet::{FlowKey, Packet, Protocol, SeqNumber, TcpFlags, TcpOptions, Transport};
use pseudotcp_pipeline::stack::Config;
use pseudotcp_pipeline::{Stack, splice};

const APP: &str = "10.0.0.1:4000";
const TARGET: &str = "192.0.2.1:80";

/// A device whose queue the test fills.
#[derive(Default)]
struct Device {
    queue: VecDeque<Packet>,
    delivered: Vec<Packet>,
}

impl Stream for Device {
    type Item = io::Result<Packet>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.queue.pop_front().map_or(Poll::Pending, |packet| Poll::Ready(Some(Ok(packet))))
    }
}

impl Sink<Packet> for Device {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Packet) -> io::Result<()> {
        self.delivered.push(packet);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Device {
    /// Lets the stack do all that it has to do now.
    async fn pass(&mut self, stack: &mut Stack) {
        let ended = tokio::time::timeout(Duration::from_millis(1), splice(self, stack)).await;
        assert!(ended.is_err(), "the splice ended: {ended:?}");
    }

    /// The sequence number that follows all that the stack has sent.
    fn next_seq(&self) -> SeqNumber {
        let packet = self.delivered.last().expect("a segment");
        let Transport::Tcp(tcp) = packet.transport() else { panic!("not TCP: {packet:?}") };
        let syn = u32::from(tcp.flags().contains(TcpFlags::SYN));
        tcp.seq().advance(u32::try_from(packet.payload_len()).unwrap() + syn)
    }
}

fn segment(seq: u32, ack: Option<SeqNumber>, flags: TcpFlags) -> Packet {
    let flow = FlowKey::new(Protocol::Tcp, address(APP), address(TARGET));
    let (seq, options) = (SeqNumber::new(seq), TcpOptions::default());
    TcpSegment { flow, seq, ack, flags, window: 60_000, options, segment_size: None }
        .build(Bytes::new())
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A flow whose data has just left; then the process sleeps for five seconds while this many
/// datagrams and, behind them, the acknowledgement come. Returns the retransmissions.
async fn retransmissions_after_a_pause(datagrams: usize) -> u64 {
    let mock = Mock::new(Script::source(50_000));
    let mut stack = Stack::new(Config::default(), Arc::new(mock)).unwrap();
    let mut device = Device::default();
    device.queue.push_back(segment(100, None, TcpFlags::SYN));
    device.pass(&mut stack).await;
    device.queue.push_back(segment(101, Some(device.next_seq()), TcpFlags::ACK));
    device.pass(&mut stack).await;
    let other = datagram(address(APP), address(TARGET), Bytes::from_static(b"x"), None).unwrap();
    device.queue.extend(std::iter::repeat_n(other, datagrams));
    device.queue.push_back(segment(101, Some(device.next_seq()), TcpFlags::ACK));
    tokio::time::advance(Duration::from_secs(5)).await;
    device.pass(&mut stack).await;
    assert!(device.queue.is_empty());
    stack.stats().tcp.retransmissions
}

#[tokio::test(start_paused = true)]
async fn waiting_acknowledgements_come_before_the_retransmission_timer() {
    // More than one batch takes.
    assert_eq!(retransmissions_after_a_pause(300).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_never_falls_silent_stops_no_timer() {
    assert!(retransmissions_after_a_pause(10_000).await > 0);
}
