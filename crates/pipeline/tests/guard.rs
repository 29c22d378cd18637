//! The guard's answers, and what it leaves alone.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, SinkExt, StreamExt};
use pseudotcp_masque_mock::{Mock, Script};
use pseudotcp_packet::build::{TcpSegment, datagram};
use pseudotcp_packet::{
    FlowKey, Packet, Protocol, SeqNumber, TcpFlags, TcpOptions, Transport, Unreachable,
};
use pseudotcp_pipeline::stack::Config;
use pseudotcp_pipeline::{Guard, Judge, Stack};
use pseudotcp_policy::{RejectKind, Rule, Rules, Verdict, defaults};
use pseudotcp_testkit::TcpState;

use common::Lab;

fn lab(rule: Rule) -> (Lab<Guard<Stack>>, Mock) {
    let mock = Mock::new(Script::echo());
    let stack = Stack::new(Config::default(), Arc::new(mock.clone())).unwrap();
    let judge = Judge::new(Rules::builder().rule(rule).build());
    let limit = stack.icmp_limit();
    (Lab::new(Guard::new(judge, limit, stack)), mock)
}

async fn heard(lab: &mut Lab<Guard<Stack>>) -> (u8, u8) {
    let mut heard: Option<Packet> = None;
    lab.until(|host| {
        heard = host.poll_icmp();
        heard.is_some()
    })
    .await;
    let packet = heard.unwrap();
    match packet.transport() {
        Transport::Icmp(icmp) | Transport::Icmpv6(icmp) => (icmp.kind(), icmp.code()),
        _ => panic!("no ICMP: {packet}"),
    }
}

#[tokio::test(start_paused = true)]
async fn private_targets_are_unreachable_and_public_ones_are_not() {
    let (mut lab, mock) = lab(defaults::reject_private());
    lab.connect("192.168.1.1:80");
    assert_eq!(heard(&mut lab).await, (3, 1));
    lab.connect("[fd12::1]:80");
    assert_eq!(heard(&mut lab).await, (1, 3));
    let flow = lab.connect("192.0.2.1:80");
    lab.until_state(flow, TcpState::Established).await;
    assert_eq!((mock.stats().requested, lab.port.stats().rejected), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn dns_over_tls_is_told_to_fall_back() {
    let (mut lab, mock) = lab(defaults::reject_dns_over_tls());
    lab.connect("192.0.2.1:853");
    assert_eq!(heard(&mut lab).await, (3, 3));
    let (socket, peer) = (lab.bind("192.0.2.1:853"), "192.0.2.1:853".parse().unwrap());
    lab.host.borrow_mut().send_to(socket, peer, b"doq");
    assert_eq!(heard(&mut lab).await, (3, 3));
    assert_eq!(mock.stats().requested, 0);
}

#[tokio::test(start_paused = true)]
async fn a_closed_verdict_resets_and_a_drop_is_silent() {
    let (mut lab, _) = lab(Rule::new(Verdict::Reject(RejectKind::Closed)));
    let flow = lab.connect("192.0.2.1:80");
    lab.until_state(flow, TcpState::Closed).await;

    let (mut lab, mock) = self::lab(Rule::new(Verdict::Drop));
    let flow = lab.connect("192.0.2.1:80");
    lab.pass(Duration::from_secs(10)).await;
    assert_eq!(lab.host.borrow().state(flow), TcpState::SynSent);
    assert!(lab.port.stats().dropped >= 2 && mock.stats().requested == 0);
}

/// What comes back at once for a packet that goes in.
fn answers(port: &mut Guard<Stack>, packet: Packet) -> Vec<Packet> {
    port.send(packet).now_or_never().unwrap().unwrap();
    std::iter::from_fn(|| port.next().now_or_never().flatten()).map(Result::unwrap).collect()
}

fn syn(from: &str, to: &str) -> Packet {
    let [from, to]: [SocketAddr; 2] = [from, to].map(|end| end.parse().unwrap());
    let segment = TcpSegment {
        flow: FlowKey::new(Protocol::Tcp, from, to),
        seq: SeqNumber::new(7),
        ack: None,
        flags: TcpFlags::SYN,
        window: 1_000,
        options: TcpOptions::default(),
        segment_size: None,
    };
    segment.build(Bytes::new())
}

fn udp(from: &str, to: &str) -> Packet {
    datagram(from.parse().unwrap(), to.parse().unwrap(), "hello".into(), None).unwrap()
}

/// An echo request from 10.0.0.1 to 192.0.2.1.
fn ping() -> Packet {
    let octets = [
        0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0xae, 0xdf, 10, 0, 0, 1, 192, 0, 2, 1, // IPv4
        8, 0, 0xf7, 0xfd, 0, 1, 0, 1, // ICMP
    ];
    Packet::parse(Bytes::copy_from_slice(&octets)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn d30_a_rejection_never_answers_many_or_nobody() {
    let many = ["224.0.0.251:80", "255.255.255.255:80", "[ff02::fb]:80", "0.0.0.0:80"];
    for kind in [RejectKind::Closed, RejectKind::Unreachable(Unreachable::Host)] {
        let (mut lab, mock) = lab(Rule::new(Verdict::Reject(kind)));
        for to in many {
            let from = if to.starts_with('[') { "[fd00::1]:5" } else { "10.0.0.1:5" };
            assert!(answers(&mut lab.port, syn(from, to)).is_empty(), "{kind:?}: {to}");
            assert!(answers(&mut lab.port, udp(from, to)).is_empty(), "{kind:?}: {to}");
        }
        for from in ["0.0.0.0:5", "255.255.255.255:5", "224.0.0.1:5"] {
            assert!(answers(&mut lab.port, udp(from, "192.0.2.1:80")).is_empty(), "{from}");
        }
        let stats = lab.port.stats();
        assert_eq!((stats.rejected, stats.dropped, mock.stats().requested), (0, 11, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn d30_rejections_share_the_limit_of_icmp_and_a_syn_is_still_refused_beyond_it() {
    let host = Verdict::Reject(RejectKind::Unreachable(Unreachable::Host));
    let (mut lab, _) = lab(Rule::new(host));
    let from = "10.0.0.1:5000";
    let told = (0..1_000).flat_map(|_| answers(&mut lab.port, udp(from, "192.0.2.1:7"))).count();
    assert_eq!(told, 200);
    assert_eq!(lab.port.port().stats().icmp_limited, 800);
    let refused = answers(&mut lab.port, syn(from, "192.0.2.1:80"));
    let Transport::Tcp(tcp) = refused[0].transport() else { panic!("no RST") };
    assert!(tcp.flags().contains(TcpFlags::RST) && tcp.ack() == SeqNumber::new(8));
    assert_eq!(answers(&mut lab.port, udp("10.0.0.2:1", "192.0.2.1:7")).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn pings_are_judged_too() {
    let rule = |verdict| Rule::new(verdict).protocol(Protocol::Icmp);
    let host = Verdict::Reject(RejectKind::Unreachable(Unreachable::Host));
    let (mut lab, _) = lab(rule(host));
    let answer = answers(&mut lab.port, ping());
    let Transport::Icmp(icmp) = answer[0].transport() else { panic!("no ICMP") };
    assert_eq!((icmp.kind(), icmp.code()), (3, 1));
    let (mut lab, _) = self::lab(rule(Verdict::Drop));
    assert!(answers(&mut lab.port, ping()).is_empty() && lab.port.stats().dropped == 1);
}
