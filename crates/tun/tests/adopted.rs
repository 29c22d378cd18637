//! A port on an adopted descriptor, with a socket pair in place of a device.
#![forbid(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use bytes::Bytes;
use futures::{FutureExt, SinkExt, StreamExt};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use pseudotcp_packet::build::{TcpSegment, datagram};
use pseudotcp_packet::{Checksum, FlowKey, Packet, Protocol, SeqNumber, TcpFlags, TcpOptions};
use pseudotcp_tun::TunPort;

/// A port, and the device's end of it, which does block.
fn port_and_device() -> (TunPort, UnixDatagram) {
    let (kernel, port) = UnixDatagram::pair().unwrap();
    (TunPort::adopt(OwnedFd::from(port), 1_500).unwrap(), kernel)
}

fn small_packet(mark: u8) -> Packet {
    let (from, to) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    datagram(from, to, Bytes::from(vec![mark; 64]), None).unwrap()
}

fn super_segment(len: usize) -> Packet {
    let (from, to) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    let payload: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
    TcpSegment {
        flow: FlowKey::new(Protocol::Tcp, from, to),
        seq: SeqNumber::new(100),
        ack: Some(SeqNumber::new(1)),
        flags: TcpFlags::ACK,
        window: 100,
        options: TcpOptions::default(),
        segment_size: Some(1_000.try_into().unwrap()),
    }
    .build(Bytes::from(payload))
}

fn receive(device: &UnixDatagram) -> Packet {
    let mut buffer = vec![0; 70_000];
    let len = device.recv(&mut buffer).unwrap();
    buffer.truncate(len);
    Packet::parse(Bytes::from(buffer)).expect("complete, with a correct checksum")
}

#[tokio::test]
async fn packets_pass_both_ways_without_a_header() {
    let (mut port, device) = port_and_device();
    device.send(&small_packet(3).segments().next().unwrap().to_bytes()).unwrap();
    let packet = port.next().await.unwrap().unwrap();
    assert_eq!((packet.checksum(), packet.payload_len()), (Checksum::Complete, 64));
    port.send(packet).await.unwrap();
    assert_eq!(receive(&device).payload_len(), 64);
}

#[tokio::test]
async fn malformed_packets_are_counted_and_skipped() {
    let (mut port, device) = port_and_device();
    for hostile in [&b"x"[..], &[0x45; 19], &[0xff; 2_000]] {
        device.send(hostile).unwrap();
    }
    device.send(&small_packet(1).segments().next().unwrap().to_bytes()).unwrap();
    assert_eq!(port.next().await.unwrap().unwrap().payload_len(), 64);
    assert_eq!(port.counters().snapshot().malformed, 3);
}

#[tokio::test]
async fn super_segments_are_cut_in_software() {
    let (mut port, device) = port_and_device();
    port.send(super_segment(2_500)).await.unwrap();
    let lengths = [(); 3].map(|()| receive(&device).payload_len());
    assert_eq!(lengths, [1_000, 1_000, 500]);
}

/// The original split such packets with wrong sequence numbers.
#[tokio::test]
async fn d06_a_full_device_holds_the_rest_of_a_super_segment_back() {
    let (mut port, device) = port_and_device();
    let mut sent = 0;
    while port.feed(super_segment(5_000)).now_or_never().is_some() {
        sent += 1;
    }
    assert!(sent > 0, "the device takes something at first");
    assert!(port.flush().now_or_never().is_none(), "a packet waits");
    assert!(port.counters().snapshot().stalled > 0);
    let reader = std::thread::spawn(move || {
        let mut next = SeqNumber::new(100);
        for index in 0..sent * 5 {
            let packet = receive(&device);
            let pseudotcp_packet::Transport::Tcp(tcp) = packet.transport() else {
                panic!("not TCP")
            };
            assert_eq!((packet.payload_len(), tcp.seq()), (1_000, next), "segment {index}");
            next = if index % 5 == 4 { SeqNumber::new(100) } else { next.advance(1_000) };
        }
    });
    port.flush().await.unwrap();
    reader.join().unwrap();
    assert_eq!(port.counters().snapshot().dropped, 0);
}

#[tokio::test]
async fn the_end_of_the_descriptor_ends_the_stream() {
    let kind = (AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
    let (device, port) = socketpair(kind.0, kind.1, kind.2, kind.3).unwrap();
    let mut port = TunPort::adopt(port, 1_280).unwrap();
    assert_eq!((port.mtu(), port.name()), (1_280, None));
    drop(device);
    assert!(port.next().await.is_none());
    assert!(port.send(small_packet(1)).await.is_err());
}

/// N15: who owns the descriptor is clear, and it is not leaked.
#[tokio::test]
async fn dropping_the_port_closes_the_descriptor() {
    for _ in 0..1_000 {
        let (port, device) = port_and_device();
        drop(port);
        assert!(device.send(b"anyone?").is_err());
    }
}

#[tokio::test]
async fn an_inherited_descriptor_is_duplicated() {
    let (device, theirs) = UnixDatagram::pair().unwrap();
    let mut port = TunPort::inherit(theirs.as_raw_fd(), 1_500).unwrap();
    port.send(small_packet(1)).await.unwrap();
    drop(port);
    theirs.send(b"still open").unwrap();
    assert_eq!(receive(&device).payload_len(), 64);
    let closed = 1_000_000;
    assert!(TunPort::inherit(closed, 1_500).is_err());
}
