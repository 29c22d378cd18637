//! A real TUN interface in a network namespace of its own, with kernel sockets as the apps.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::num::NonZeroU16;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::thread;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use nix::sys::socket::{setsockopt, sockopt};
use pseudotcp_packet::build::datagram;
use pseudotcp_packet::{Packet, Transport};
use pseudotcp_tun::{LinuxTun, SteeringTable, TunConfig, TunPort};
use tun_rs::DeviceBuilder;

use support::{Peer, in_namespace};

const OURS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, 1)),
];
const THEIRS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 99, 0, 2)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, 2)),
];

fn config(offload: bool) -> TunConfig {
    TunConfig::default()
        .name("tun-test")
        .address("10.99.0.1/24".parse().unwrap())
        .address("fd00:99::1/64".parse().unwrap())
        .offload(offload)
}

/// The next packet of TCP or UDP between the test's addresses; the kernel also sends its own.
async fn next_of_ours(port: &mut TunPort) -> Packet {
    loop {
        let packet = port.next().await.unwrap().unwrap();
        if packet.flow().is_some_and(|flow| THEIRS.contains(&flow.destination().ip())) {
            return packet;
        }
    }
}

/// The payload as one piece, and the answer that carries it back.
fn echo(packet: &Packet) -> Packet {
    let flow = packet.flow().unwrap();
    let payload = packet.body().concat();
    datagram(flow.destination(), flow.source(), payload.into(), packet.segment_size()).unwrap()
}

#[test]
fn a_datagram_of_a_kernel_socket_comes_back() {
    for offload in [true, false] {
        in_namespace(async move || {
            let mut port = LinuxTun::create(config(offload)).unwrap();
            assert_eq!((port.name(), port.mtu()), (Some("tun-test"), 1_500));
            assert_eq!(port.has_tcp_offload(), offload);
            for (ours, theirs) in OURS.into_iter().zip(THEIRS) {
                let socket = support::udp_socket(ours);
                for len in [0, 1, 100, 1_400] {
                    let sent = vec![0xa5; len];
                    socket.send_to(&sent, (theirs, 7)).unwrap();
                    let packet = next_of_ours(&mut port).await;
                    port.send(echo(&packet)).await.unwrap();
                    let mut received = [0; 2_000];
                    let (n, from) = socket.recv_from(&mut received).unwrap();
                    assert_eq!((&received[..n], from), (&sent[..], SocketAddr::new(theirs, 7)));
                }
            }
        });
    }
}

/// Waits for the next packet of ours, from whichever queue; the number of that queue with it.
async fn next_of_either(ports: &mut [TunPort; 2]) -> (usize, Packet) {
    let [one, two] = ports;
    tokio::select! {
        packet = next_of_ours(one) => (0, packet),
        packet = next_of_ours(two) => (1, packet),
    }
}

#[test]
fn a_flow_comes_out_of_the_queue_through_which_it_is_answered() {
    for offload in [true, false] {
        in_namespace(async move || {
            let queues = LinuxTun::create_queues(config(offload), 2).unwrap();
            let ports: Vec<_> = queues.into_iter().map(|queue| queue.open().unwrap()).collect();
            let mut ports: [TunPort; 2] = ports.try_into().unwrap();
            assert!(ports.iter().all(|port| port.name() == Some("tun-test")));
            let mut first = [0, 0];
            for _ in 0..32 {
                let socket = support::udp_socket(OURS[0]);
                socket.send_to(b"from somewhere", (THEIRS[0], 7)).unwrap();
                let (queue, packet) = next_of_either(&mut ports).await;
                first[queue] += 1;
                ports[1 - queue].send(echo(&packet)).await.unwrap();
                socket.recv_from(&mut [0; 100]).unwrap();
                socket.send_to(b"from the other", (THEIRS[0], 7)).unwrap();
                assert_eq!(next_of_either(&mut ports).await.0, 1 - queue);
            }
            // That one is never chosen has a chance of 2 in 2³².
            assert!(first.iter().all(|flows| *flows > 0), "{first:?}");
            let [one, two] = ports;
            drop(one);
            assert!(support::has_link("tun-test"));
            drop(two);
            assert!(!support::has_link("tun-test"));
        });
    }
}

fn steering_table() -> Option<SteeringTable> {
    let table = SteeringTable::new();
    table.map_err(|error| pseudotcp_testkit::skip(&format!("no eBPF: {error}"))).ok()
}

/// The socket of an app that has asked something from a port of its own.
fn question(ours: IpAddr, theirs: IpAddr) -> UdpSocket {
    let socket = support::udp_socket(ours);
    socket.send_to(b"where am I?", (theirs, 7)).unwrap();
    socket
}

#[test]
fn a_flow_comes_out_of_the_queue_that_the_table_says() {
    for offload in [true, false] {
        in_namespace(async move || {
            let queues = LinuxTun::create_queues(config(offload), 2).unwrap();
            let Some(table) = steering_table() else { return };
            queues[0].steer_by(&table).unwrap();
            let ports: Vec<_> = queues.into_iter().map(|queue| queue.open().unwrap()).collect();
            let mut ports: [TunPort; 2] = ports.try_into().unwrap();
            for (ours, theirs) in OURS.into_iter().zip(THEIRS).cycle().take(64) {
                let socket = question(ours, theirs);
                let (queue, packet) = next_of_either(&mut ports).await;
                assert_eq!(queue, 0, "of which the table says nothing");
                let bucket = &table.as_ref()[packet.flow().unwrap().bucket()];
                bucket.store(1, Ordering::Relaxed);
                // Which queue answers does not matter.
                ports[0].send(echo(&packet)).await.unwrap();
                for expected in [1, 0] {
                    bucket.store(expected, Ordering::Relaxed);
                    socket.send_to(b"and now?", (theirs, 7)).unwrap();
                    assert_eq!(next_of_either(&mut ports).await.0, usize::from(expected));
                }
            }
            // The interface keeps to the table when nobody can change it any more.
            let socket = question(OURS[0], THEIRS[0]);
            let (_, packet) = next_of_either(&mut ports).await;
            table.as_ref()[packet.flow().unwrap().bucket()].store(1, Ordering::Relaxed);
            drop(table);
            socket.send_to(b"and now?", (THEIRS[0], 7)).unwrap();
            assert_eq!(next_of_either(&mut ports).await.0, 1);
        });
    }
}

#[test]
fn what_shows_no_flow_comes_out_of_the_first_queue() {
    in_namespace(async || {
        let queues = LinuxTun::create_queues(config(false), 2).unwrap();
        let Some(table) = steering_table() else { return };
        queues[0].steer_by(&table).unwrap();
        table.as_ref().iter().for_each(|bucket| bucket.store(1, Ordering::Relaxed));
        let ports: Vec<_> = queues.into_iter().map(|queue| queue.open().unwrap()).collect();
        let mut ports: [TunPort; 2] = ports.try_into().unwrap();
        for (ours, theirs) in OURS.into_iter().zip(THEIRS) {
            let socket = support::udp_socket(ours);
            socket.send_to(&[0; 4_000], (theirs, 7)).unwrap();
            for _ in 0..3 {
                let piece = loop {
                    let packet = ports[0].next().await.unwrap().unwrap();
                    if packet.ip().destination() == theirs {
                        break packet;
                    }
                };
                assert!(matches!(piece.transport(), Transport::Fragment(_)));
            }
        }
    });
}

#[test]
fn super_datagrams_pass_whole_both_ways() {
    in_namespace(async || {
        let mut port = LinuxTun::create(config(true)).unwrap();
        if !port.has_udp_offload() {
            return pseudotcp_testkit::skip("this kernel has no UDP segmentation offload");
        }
        for (ours, theirs) in OURS.into_iter().zip(THEIRS) {
            let socket = support::udp_socket(ours);
            setsockopt(&socket, sockopt::UdpGsoSegment, &1_000).unwrap();
            let sent: Vec<u8> = (0..9_500).map(pattern).collect();
            socket.send_to(&sent, (theirs, 7)).unwrap();
            let packet = next_of_ours(&mut port).await;
            assert_eq!(packet.segment_size(), NonZeroU16::new(1_000));
            assert_eq!(packet.payload_len(), sent.len());
            port.send(echo(&packet)).await.unwrap();
            for chunk in sent.chunks(1_000) {
                let mut received = [0; 2_000];
                let n = socket.recv(&mut received).unwrap();
                assert_eq!(&received[..n], chunk);
            }
        }
    });
}

#[test]
fn super_segments_pass_whole_both_ways() {
    for offload in [true, false] {
        in_namespace(async move || {
            let mut port = LinuxTun::create(config(offload)).unwrap();
            for theirs in THEIRS {
                let app = thread::spawn(move || upload_and_download(theirs));
                let largest = answer_one_connection(&mut port).await;
                assert_eq!(app.join().unwrap(), (0..BULK).map(pattern).collect::<Vec<u8>>());
                assert_eq!(largest > 1_500, offload, "largest packet read: {largest}");
            }
            assert_eq!(port.counters().snapshot().dropped, 0);
        });
    }
}

const BULK: usize = 60_000;

fn pattern(n: usize) -> u8 {
    u8::try_from(n % 249).unwrap()
}

/// The app, on a thread that inherits the namespace: sends `BULK` bytes and reads until the end of the stream.
fn upload_and_download(server: IpAddr) -> Vec<u8> {
    let mut stream = TcpStream::connect((server, 80)).unwrap();
    stream.write_all(&(0..BULK).map(pattern).collect::<Vec<u8>>()).unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    received
}

/// The far end, as little TCP as will do: takes `BULK` bytes, sends `BULK` bytes as one
/// super-segment and ends. Yields the size of the largest packet that it read.
async fn answer_one_connection(port: &mut TunPort) -> usize {
    let mut peer = Peer::default();
    let mut largest = 0;
    while !peer.is_done() {
        let packet = next_of_ours(port).await;
        largest = largest.max(packet.total_len());
        let Transport::Tcp(tcp) = packet.transport() else { panic!("not TCP") };
        for reply in peer.handle(packet.flow().unwrap(), &tcp, &packet.body().concat()) {
            port.feed(reply).await.unwrap();
        }
        port.flush().await.unwrap();
    }
    largest
}

impl Peer {
    /// What the far end sends once it has everything.
    fn response() -> Bytes {
        (0..BULK).map(pattern).collect()
    }
}

/// A TUN descriptor tells of the loss of its interface only by an error condition.
#[test]
fn a_deleted_interface_ends_the_stream_with_an_error() {
    in_namespace(async || {
        let mut port = LinuxTun::create(config(true)).unwrap();
        let reader = async {
            loop {
                match port.next().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return error,
                    None => panic!("no error"),
                }
            }
        };
        let remover = async {
            tokio::task::yield_now().await;
            support::delete_link("tun-test");
        };
        let (error, ()) = futures::join!(reader, remover);
        assert_eq!(error.raw_os_error(), Some(libc::EBADFD));
    });
}

/// N15: a thousand starts and stops leave nothing behind.
#[test]
fn interfaces_come_and_go() {
    in_namespace(async || {
        for _ in 0..100 {
            drop(LinuxTun::create(config(true)).unwrap());
        }
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
        assert!(descriptors < 100, "{descriptors} descriptors are open");
    });
}

#[test]
fn a_name_that_is_too_long_is_refused() {
    in_namespace(async || {
        let error = LinuxTun::create(config(true).name("a-name-of-16-byte")).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    });
}

#[test]
fn a_descriptor_with_virtio_headers_is_not_adopted() {
    in_namespace(async || {
        let device = |offload| DeviceBuilder::new().offload(offload).build_sync().unwrap();
        let (plain, with_headers) = (device(false), device(true));
        TunPort::inherit(plain.as_raw_fd(), 1_500).unwrap();
        let error = TunPort::inherit(with_headers.as_raw_fd(), 1_500).unwrap_err();
        assert!(error.to_string().contains("virtio"), "{error}");
    });
}
