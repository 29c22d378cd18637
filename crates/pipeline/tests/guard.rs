//! The guard's answers, and what it leaves alone.

mod common;

use std::sync::Arc;
use std::time::Duration;

use pseudotcp_masque_mock::{Mock, Script};
use pseudotcp_packet::{Packet, Transport};
use pseudotcp_pipeline::stack::Config;
use pseudotcp_pipeline::{Guard, Stack};
use pseudotcp_policy::{RejectKind, Rule, Rules, Verdict, defaults};
use pseudotcp_testkit::TcpState;

use common::Lab;

fn lab(rule: Rule) -> (Lab<Guard<Stack>>, Mock) {
    let mock = Mock::new(Script::echo());
    let stack = Stack::new(Config::default(), Arc::new(mock.clone())).unwrap();
    (Lab::new(Guard::new(Rules::builder().rule(rule).build(), stack)), mock)
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
