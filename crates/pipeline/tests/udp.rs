//! UDP through the stack.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt as _;
use pseudotcp_masque::{OpenError, TunnelError};
use pseudotcp_masque_mock::{Mock, Script};
use pseudotcp_packet::{Packet, Transport, build};
use pseudotcp_pipeline::Stack;
use pseudotcp_pipeline::stack::Config;

use common::{Lab, now};

const TARGETS: [&str; 2] = ["192.0.2.1:53000", "[2001:db8::1]:53000"];

fn lab(script: Script) -> (Lab<Stack>, Mock) {
    let mock = Mock::new(script);
    let stack = Stack::new(Config::default(), Arc::new(mock.clone())).unwrap();
    (Lab::new(stack), mock)
}

fn icmp(packet: &Packet) -> (u8, u8) {
    match packet.transport() {
        Transport::Icmp(icmp) | Transport::Icmpv6(icmp) => (icmp.kind(), icmp.code()),
        _ => panic!("no ICMP: {packet}"),
    }
}

#[tokio::test(start_paused = true)]
async fn datagrams_of_every_size_come_back_whole_and_in_order() {
    for target in TARGETS {
        let (mut lab, mock) = lab(Script::echo());
        let (socket, peer): (_, SocketAddr) = (lab.bind(target), target.parse().unwrap());
        for size in (0..=1_400).step_by(7) {
            let datagram = vec![u8::try_from(size % 256).unwrap(); size];
            assert!(lab.host.borrow_mut().send_to(socket, peer, &datagram));
            let mut echo = None;
            lab.until(|host| {
                echo = host.recv_from(socket);
                echo.is_some()
            })
            .await;
            assert!(echo == Some((peer, datagram.into())), "{size} bytes");
        }
        assert_eq!((mock.stats().opened, lab.port.udp_flow_count()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn d25_datagrams_wait_for_an_opening_flow_and_block_nothing() {
    let (mut lab, _) = lab(Script::echo().with_latency(Duration::from_secs(2)));
    let (socket, peer) = (lab.bind(TARGETS[0]), TARGETS[0].parse().unwrap());
    let start = now();
    for n in 0..8 {
        lab.host.borrow_mut().send_to(socket, peer, &[n]);
    }
    for n in 0..8 {
        let mut echo = None;
        lab.until(|host| {
            echo = host.recv_from(socket);
            echo.is_some()
        })
        .await;
        assert_eq!(echo.unwrap().1, [n][..]);
    }
    assert!(now() - start < Duration::from_millis(2_100));
}

#[tokio::test(start_paused = true)]
async fn refused_targets_are_told_by_what_a_connected_socket_hears() {
    type Cause = fn() -> OpenError;
    let rows: [(Cause, [(u8, u8); 2]); 5] = [
        (|| OpenError::Refused(None), [(3, 3), (1, 4)]),
        (|| OpenError::ConnectFailed(None), [(3, 3), (1, 4)]),
        (|| OpenError::Unreachable(None), [(3, 10), (1, 4)]),
        (|| OpenError::Unresolved(None), [(3, 10), (1, 4)]),
        (|| OpenError::Denied(None), [(3, 13), (1, 1)]),
    ];
    for (cause, answers) in rows {
        for (target, answer) in TARGETS.into_iter().zip(answers) {
            let (mut lab, _) = lab(Script::fail(cause));
            let (socket, peer) = (lab.bind(target), target.parse().unwrap());
            lab.host.borrow_mut().send_to(socket, peer, b"anybody?");
            let mut heard = None;
            lab.until(|host| {
                heard = host.poll_icmp();
                heard.is_some()
            })
            .await;
            assert_eq!(icmp(&heard.unwrap()), answer, "{:?} to {target}", cause());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_port_behind_an_open_tunnel_is_heard() {
    let closed = Script::discard().with_break_after(1);
    let (mut lab, _) = lab(closed.with_breakage(|| TunnelError::Unreachable));
    let (socket, peer) = (lab.bind(TARGETS[0]), TARGETS[0].parse().unwrap());
    lab.host.borrow_mut().send_to(socket, peer, b"anybody?");
    let mut heard = None;
    lab.until(|host| {
        heard = host.poll_icmp();
        heard.is_some()
    })
    .await;
    assert_eq!(icmp(&heard.unwrap()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn d26_idle_flows_end_and_so_do_their_tunnels() {
    let (mut lab, mock) = lab(Script::echo());
    let (socket, peer) = (lab.bind(TARGETS[0]), TARGETS[0].parse().unwrap());
    lab.host.borrow_mut().send_to(socket, peer, b"once");
    lab.pass(Duration::from_secs(301)).await;
    assert_eq!((lab.port.udp_flow_count(), mock.stats().datagram_flows_ended), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_datagram_that_the_tunnel_cannot_carry_whole_is_dropped_and_counted() {
    let (mut lab, mock) = lab(Script::echo().with_max_datagram_size(1_000));
    let (socket, peer) = (lab.bind(TARGETS[0]), TARGETS[0].parse().unwrap());
    for size in [1_001, 1_000] {
        lab.host.borrow_mut().send_to(socket, peer, &vec![7; size]);
    }
    let mut echo = None;
    lab.until(|host| {
        echo = host.recv_from(socket);
        echo.is_some()
    })
    .await;
    assert_eq!(echo.unwrap().1.len(), 1_000);
    assert_eq!((lab.port.stats().datagrams_not_taken, mock.stats().datagrams_dropped), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_crowd_is_seen_to_come_and_to_go() {
    let mut stack = Stack::new(Config::default(), Arc::new(Mock::new(Script::echo()))).unwrap();
    let crowd = stack.crowd();
    let target: SocketAddr = TARGETS[0].parse().unwrap();
    for port in 1..=2_000 {
        let app = ([10, 0, 0, 1], port).into();
        let packet = build::datagram(app, target, Bytes::from_static(b"1 of many"), None).unwrap();
        stack.send(packet).await.unwrap();
    }
    assert_eq!(stack.udp_flow_count(), 2_000);
    assert_eq!(*crowd.borrow(), 2_048);
    assert_eq!(stack.retain(|_| false), 2_000);
    stack.flush().await.unwrap();
    assert_eq!((stack.udp_flow_count(), *crowd.borrow()), (0, 0));
}
