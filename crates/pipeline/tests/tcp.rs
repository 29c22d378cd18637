//! TCP through the stack: smoltcp on one side, scripted targets on the other.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pseudotcp_masque::{AbortCode, OpenError, Target, TunnelError};
use pseudotcp_masque_mock::{Ending, Mock, Script};
use pseudotcp_packet::Transport;
use pseudotcp_pipeline::Stack;
use pseudotcp_pipeline::stack::Config;
use pseudotcp_testkit::{SmoltcpHost, TcpId, TcpState};

use common::{Lab, now};

const TARGET: &str = "192.0.2.1:80";

fn lab(script: Script) -> (Lab<Stack>, Mock) {
    lab_of(Mock::new(script))
}

fn lab_of(mock: Mock) -> (Lab<Stack>, Mock) {
    let stack = Stack::new(Config::default(), Arc::new(mock.clone())).unwrap();
    (Lab::new(stack), mock)
}

fn address(target: &str) -> Target {
    Target::Address(target.parse().unwrap())
}

/// Bytes of which no two neighbours are alike.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

fn is_over(host: &SmoltcpHost, id: TcpId) -> bool {
    matches!(host.state(id), TcpState::Closed | TcpState::TimeWait)
}

#[tokio::test(start_paused = true)]
async fn bytes_go_both_ways_and_both_ends_close() {
    for target in [TARGET, "[2001:db8::1]:80"] {
        let (mut lab, mock) = lab(Script::echo());
        let flow = lab.connect(target);
        let sent = pattern(300_000);
        lab.until_state(flow, TcpState::Established).await;
        let (mut up, mut received) = (0, Vec::new());
        lab.until(|host| {
            up += host.send(flow, &sent[up..]);
            received.extend_from_slice(&host.recv(flow, usize::MAX));
            received.len() == sent.len()
        })
        .await;
        assert!(received == sent, "{target}: other bytes came back");
        lab.host.borrow_mut().close(flow);
        lab.until(|host| is_over(host, flow)).await;
        lab.pass(Duration::from_millis(10)).await;
        let ends = mock.take_ends();
        assert_eq!(ends.len(), 1);
        assert_eq!((ends[0].ending, ends[0].received), (Ending::Finished, 300_000));
        assert_eq!(lab.port.tcp_flow_count(), 0);
    }
}

/// A stack that answers SYNs before the target has, and a target 2.5 s away.
fn early_lab(script: Script) -> (Lab<Stack>, Mock) {
    let mock = Mock::new(script.with_latency(Duration::from_millis(2_500)));
    let config = Config::default().early_accept(true);
    let stack = Stack::new(config, Arc::new(mock.clone())).unwrap();
    (Lab::new(stack), mock)
}

#[tokio::test(start_paused = true)]
async fn an_early_answer_lets_the_app_send_ahead_even_to_its_end() {
    let (mut lab, mock) = early_lab(Script::echo());
    let (start, flow) = (now(), lab.connect(TARGET));
    lab.until_state(flow, TcpState::Established).await;
    lab.send(flow, b"ahead").await;
    lab.host.borrow_mut().close(flow);
    lab.until(|host| host.state(flow) == TcpState::FinWait2).await;
    assert!(now() - start < Duration::from_millis(100), "{:?}", now() - start);
    assert_eq!(lab.recv(flow, 5).await, b"ahead");
    lab.until(|host| is_over(host, flow)).await;
    lab.pass(Duration::from_millis(10)).await;
    let ends = mock.take_ends();
    assert_eq!((ends.len(), ends[0].ending, ends[0].received), (1, Ending::Finished, 5));
}

#[tokio::test(start_paused = true)]
async fn an_early_answer_is_taken_back_when_the_target_refuses() {
    let (mut lab, _) = early_lab(Script::fail(|| OpenError::Refused(None)));
    let flow = lab.connect(TARGET);
    lab.until_state(flow, TcpState::Established).await;
    lab.send(flow, b"ahead").await;
    lab.until_state(flow, TcpState::Closed).await;
    lab.pass(Duration::from_millis(10)).await;
    assert_eq!(lab.port.tcp_flow_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_syn_ack_waits_for_the_target() {
    let (mut lab, _) = lab(Script::echo().with_latency(Duration::from_millis(2_500)));
    let (start, flow) = (now(), lab.connect(TARGET));
    lab.until_state(flow, TcpState::Established).await;
    let took = now() - start;
    assert!(
        took >= Duration::from_millis(2_500) && took < Duration::from_millis(2_600),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn d09_a_failed_open_is_answered_at_once() {
    let (mut lab, mock) = lab(Script::fail(|| OpenError::Refused(None)));
    let (start, flow) = (now(), lab.connect(TARGET));
    lab.until_state(flow, TcpState::Closed).await;
    assert!(now() - start < Duration::from_millis(10));
    assert_eq!(mock.stats().requested, 1);
    assert_eq!(lab.port.stats().opens_failed, 1);
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_target_is_told_by_icmp() {
    let (mut lab, _) = lab(Script::fail(|| OpenError::Unreachable(None)));
    lab.connect(TARGET);
    let mut answer = None;
    lab.until(|host| {
        answer = host.poll_icmp();
        answer.is_some()
    })
    .await;
    let packet = answer.unwrap();
    let Transport::Icmp(icmp) = packet.transport() else { panic!("no ICMP: {packet}") };
    assert_eq!((icmp.kind(), icmp.code()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn retries_of_a_held_syn_never_become_opens() {
    let (mut lab, mock) = lab(Script::silent());
    let flow = lab.connect(TARGET);
    lab.pass(Duration::from_secs(29)).await;
    assert_eq!(lab.host.borrow().state(flow), TcpState::SynSent);
    assert_eq!(mock.stats().requested, 1);
}

#[tokio::test(start_paused = true)]
async fn a_timed_out_open_is_silence_and_ends_by_icmp_after_its_deadline() {
    let (mut lab, mock) = lab(Script::fail(|| OpenError::TimedOut(None)));
    let start = now();
    lab.connect(TARGET);
    lab.until(|host| host.poll_icmp().is_some()).await;
    let took = now() - start;
    assert!(took >= Duration::from_secs(30) && took < Duration::from_secs(31), "{took:?}");
    let opens = mock.stats().requested;
    assert!((2..=6).contains(&opens), "back-off, not every SYN: {opens}");
}

#[tokio::test(start_paused = true)]
async fn a_held_syn_is_opened_when_the_proxy_returns() {
    let tries = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&tries);
    let gone = Script::fail(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        OpenError::ProxyGone(None)
    });
    let (mut lab, _) = lab(gone);
    let flow = lab.connect(TARGET);
    lab.pass(Duration::from_secs(5)).await;
    assert_eq!(lab.host.borrow().state(flow), TcpState::SynSent, "no answer yet");
    assert!(tries.load(Ordering::Relaxed) >= 2, "asked again");
    lab.until_state(flow, TcpState::Closed).await;
}

#[tokio::test(start_paused = true)]
async fn an_open_that_the_app_gives_up_is_cancelled() {
    let (mut lab, mock) = lab(Script::silent());
    let flow = lab.connect(TARGET);
    lab.pass(Duration::from_millis(10)).await;
    assert_eq!(lab.port.tcp_flow_count(), 1);
    lab.host.borrow_mut().abort(flow);
    lab.pass(Duration::from_secs(31)).await;
    assert_eq!((mock.stats().cancelled, lab.port.tcp_flow_count()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn d04_the_answer_comes_after_the_apps_fin() {
    let reply = Bytes::from(pattern(100_000));
    let (mut lab, mock) = lab(Script::reply_at_end(reply.clone()));
    let flow = lab.connect(TARGET);
    lab.until_state(flow, TcpState::Established).await;
    lab.send(flow, b"question").await;
    lab.host.borrow_mut().close(flow);
    assert!(lab.recv(flow, reply.len()).await == reply);
    lab.until(|host| is_over(host, flow)).await;
    assert_eq!(mock.take_ends()[0].ending, Ending::Finished);
}

#[tokio::test(start_paused = true)]
async fn d01_the_targets_end_reaches_the_app_and_the_app_may_go_on() {
    let (mut lab, mock) = lab(Script::end_first(Bytes::from_static(b"bye")));
    let flow = lab.connect(TARGET);
    assert_eq!(lab.recv(flow, 3).await, b"bye");
    lab.until_state(flow, TcpState::CloseWait).await;
    lab.send(flow, &pattern(50_000)).await;
    lab.host.borrow_mut().close(flow);
    lab.until(|host| is_over(host, flow)).await;
    let end = mock.take_ends().remove(0);
    assert_eq!((end.ending, end.received), (Ending::Finished, 50_000));
}

#[tokio::test(start_paused = true)]
async fn a_reset_by_the_target_resets_the_app() {
    let (mut lab, _) = lab(Script::discard().with_break_after(1_000));
    let flow = lab.connect(TARGET);
    lab.until_state(flow, TcpState::Established).await;
    lab.host.borrow_mut().send(flow, &pattern(5_000));
    lab.until_state(flow, TcpState::Closed).await;
    assert_eq!(lab.port.tcp_flow_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_proxy_resets_the_app_even_after_a_partial_answer() {
    let breaking = Script::source(10_000).with_break_at_end();
    let (mut lab, _) = lab(breaking.with_breakage(|| TunnelError::ProxyGone));
    let flow = lab.connect(TARGET);
    lab.until_state(flow, TcpState::Closed).await;
}

#[tokio::test(start_paused = true)]
async fn a_reset_by_the_app_reaches_the_target_as_a_reset() {
    let (mut lab, mock) = lab(Script::echo());
    let flow = lab.connect(TARGET);
    lab.until_state(flow, TcpState::Established).await;
    lab.host.borrow_mut().abort(flow);
    lab.pass(Duration::from_millis(10)).await;
    assert_eq!(mock.take_ends()[0].ending, Ending::Aborted(AbortCode::ConnectError));
    assert_eq!(lab.port.tcp_flow_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn d07_a_target_that_takes_nothing_closes_its_apps_window_and_harms_nobody() {
    let stalled = "192.0.2.9:80";
    let (mut lab, _) = lab_of(Mock::new(Script::echo()).with(address(stalled), Script::stall()));
    let (stuck, healthy) = (lab.connect(stalled), lab.connect(TARGET));
    lab.until_state(stuck, TcpState::Established).await;
    let data = pattern(64 * 1024);
    let mut accepted = 0;
    for _ in 0..100 {
        accepted += lab.host.borrow_mut().send(stuck, &data);
        lab.pass(Duration::from_millis(10)).await;
    }
    // The engine's buffer and the host's own: not the 6.5 MB that were offered.
    assert!(accepted < 1024 * 1024, "{accepted} bytes were taken for a target that takes none");
    lab.send(healthy, b"hello").await;
    assert_eq!(lab.recv(healthy, 5).await, b"hello");
}

#[tokio::test(start_paused = true)]
async fn an_app_that_reads_nothing_stops_its_source() {
    let (mut lab, _) = lab(Script::source(100 << 20));
    let flow = lab.connect(TARGET);
    lab.until_state(flow, TcpState::Established).await;
    lab.pass(Duration::from_secs(5)).await;
    let taken = lab.port.stats().tcp_bytes_down;
    assert!(taken < 4 << 20, "{taken} bytes wait for an app that reads none");
    assert_eq!(lab.recv(flow, 3 << 20).await.len(), 3 << 20, "and go on when it reads");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_flows_at_once_complete() {
    let answer = Bytes::from(pattern(2_000));
    let (mut lab, mock) = lab(Script::reply_at_end(answer.clone()));
    let flows: Vec<_> = (0..1_000).map(|_| lab.connect(TARGET)).collect();
    let mut left: Vec<_> = flows.iter().map(|&flow| (flow, false, Vec::new())).collect();
    lab.until(|host| {
        left.retain_mut(|(flow, asked, received)| {
            if !*asked && host.state(*flow) == TcpState::Established {
                host.send(*flow, b"?");
                host.close(*flow);
                *asked = true;
            }
            received.extend_from_slice(&host.recv(*flow, usize::MAX));
            *received != answer
        });
        left.is_empty()
    })
    .await;
    assert_eq!(mock.stats().opened, 1_000);
}

#[tokio::test(start_paused = true)]
async fn an_idle_stack_does_not_wake() {
    let (mut lab, _) = lab(Script::echo());
    let flow = lab.connect(TARGET);
    lab.until_state(flow, TcpState::Established).await;
    lab.host.borrow_mut().close(flow);
    lab.until(|host| is_over(host, flow)).await;
    lab.host.borrow_mut().remove(flow);
    lab.pass(Duration::from_mins(1)).await;
    let before = lab.polls;
    lab.pass(Duration::from_hours(1)).await;
    assert!(lab.polls - before <= 2, "{} polls in an idle hour", lab.polls - before);
}
