//! What is neither a segment nor a datagram of a flow: pings, errors, and addresses of no flow.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, SinkExt, StreamExt};
use pseudotcp_masque::OpenError;
use pseudotcp_masque_mock::{Mock, Script};
use pseudotcp_packet::build::{TcpSegment, datagram};
use pseudotcp_packet::checksum::{Sum, pseudo_header};
use pseudotcp_packet::{
    FlowKey, Packet, Protocol, Quote, SeqNumber, TcpFlags, TcpOptions, Transport, Unreachable,
};
use pseudotcp_pipeline::Stack;
use pseudotcp_pipeline::stack::{Config, Ping};

const APPS: [&str; 2] = ["10.0.0.1", "fd00::1"];
const HOSTS: [&str; 2] = ["192.0.2.7", "2001:db8::7"];
const MODES: [Ping; 4] = [Ping::Off, Ping::Reply, Ping::Unreachable, Ping::ReplyIfReachable];

fn stack(script: Script, config: Config) -> (Stack, Mock) {
    let mock = Mock::new(script);
    (Stack::new(config, Arc::new(mock.clone())).unwrap(), mock)
}

/// A packet of any protocol with any payload.
fn packet(source: &str, destination: &str, protocol: u8, payload: &[u8]) -> Packet {
    let ends: [IpAddr; 2] = [source, destination].map(|address| address.parse().unwrap());
    let len = u16::try_from(payload.len()).unwrap();
    let mut octets = Vec::new();
    match ends {
        [IpAddr::V4(source), IpAddr::V4(destination)] => {
            octets.extend([0x45, 0]);
            octets.extend((20 + len).to_be_bytes());
            octets.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
            octets.extend(source.octets());
            octets.extend(destination.octets());
            let checksum = Sum::default().with(&octets).checksum();
            octets[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        [IpAddr::V6(source), IpAddr::V6(destination)] => {
            octets.extend([0x60, 0, 0, 0]);
            octets.extend(len.to_be_bytes());
            octets.extend([protocol, 64]);
            octets.extend(source.octets());
            octets.extend(destination.octets());
        }
        _ => panic!("{source} and {destination} are of two versions"),
    }
    octets.extend(payload);
    Packet::parse(octets.into()).unwrap()
}

fn echo_request(source: &str, destination: &str) -> Packet {
    let ends: [IpAddr; 2] = [source, destination].map(|address| address.parse().unwrap());
    let mut message = vec![8, 0, 0, 0, 0, 1, 0, 2, b'h', b'i'];
    let mut covered = Sum::default();
    if ends[0].is_ipv6() {
        message[0] = 128;
        covered = pseudo_header(ends[0], ends[1], 58, 10);
    }
    let checksum = covered.with(&message).checksum();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    packet(source, destination, if ends[0].is_ipv6() { 58 } else { 1 }, &message)
}

fn syn(source: &str, destination: &str) -> Packet {
    let end = |host: &str, port| (host.parse::<IpAddr>().unwrap(), port).into();
    let flow = FlowKey::new(Protocol::Tcp, end(source, 5_000), end(destination, 80));
    let (seq, options) = (SeqNumber::new(7), TcpOptions::default());
    TcpSegment {
        flow,
        seq,
        ack: None,
        flags: TcpFlags::SYN,
        window: 9,
        options,
        segment_size: None,
    }
    .build(Bytes::new())
}

fn udp(source: &str, destination: &str, len: usize) -> Packet {
    let end = |host: &str, port| (host.parse::<IpAddr>().unwrap(), port).into();
    let payload = Bytes::from(vec![7; len]);
    datagram(end(source, 5_000), end(destination, 7), payload, None).unwrap()
}

/// Sends a packet, and returns what comes back within a while of virtual time.
async fn answers(stack: &mut Stack, packet: Packet) -> Vec<Packet> {
    stack.send(packet).await.unwrap();
    let mut answers = Vec::new();
    while let Ok(next) = tokio::time::timeout(Duration::from_millis(100), stack.next()).await {
        answers.push(next.unwrap().unwrap());
    }
    answers
}

/// Type, code and the value behind them.
fn icmp(packet: &Packet) -> (u8, u8, u32) {
    match packet.transport() {
        Transport::Icmp(icmp) | Transport::Icmpv6(icmp) => (icmp.kind(), icmp.code(), icmp.rest()),
        _ => panic!("no ICMP: {packet}"),
    }
}

/// Type and code of what an app hears over IPv4 and over IPv6.
type Heard = [Option<(u8, u8)>; 2];

const REPLY: Heard = [Some((0, 0)), Some((129, 0))];
const PROHIBITED: Heard = [Some((3, 13)), Some((1, 1))];

async fn ping(script: Script, mode: Ping) -> Heard {
    let (mut stack, _) = stack(script, Config::default().ping(mode));
    let mut heard = [None; 2];
    for (heard, (app, host)) in heard.iter_mut().zip(APPS.into_iter().zip(HOSTS)) {
        let answers = answers(&mut stack, echo_request(app, host)).await;
        assert!(answers.len() <= 1);
        *heard = answers.first().map(icmp).map(|(kind, code, _)| (kind, code));
        if heard.is_some_and(|(kind, _)| kind == 0 || kind == 129) {
            assert_eq!(answers[0].body(), [Bytes::from_static(b"hi")]);
            assert_eq!(answers[0].ip().source(), host.parse::<IpAddr>().unwrap());
        }
    }
    heard
}

#[tokio::test(start_paused = true)]
async fn each_mode_of_ping_has_its_answer() {
    for (mode, heard) in MODES.into_iter().zip([[None; 2], REPLY, PROHIBITED, REPLY]) {
        assert_eq!(ping(Script::echo(), mode).await, heard, "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn by_default_only_a_host_that_answered_is_said_to_be_there() {
    let table: [(fn() -> OpenError, Heard); 6] = [
        (|| OpenError::Refused(None), REPLY),
        (|| OpenError::Unreachable(None), [Some((3, 1)), Some((1, 3))]),
        (|| OpenError::NoIpv6(None), [Some((3, 0)), Some((1, 0))]),
        (|| OpenError::Denied(None), PROHIBITED),
        (|| OpenError::TimedOut(None), [None; 2]),
        (|| OpenError::ConnectFailed(None), [None; 2]),
    ];
    for (cause, heard) in table {
        assert_eq!(ping(Script::fail(cause), Ping::default()).await, heard, "{}", cause());
    }
}

#[tokio::test(start_paused = true)]
async fn many_pings_ask_once_and_wait_for_the_answer() {
    let script = Script::echo().with_latency(Duration::from_millis(500));
    let (mut stack, mock) = stack(script, Config::default());
    for _ in 0..5 {
        stack.send(echo_request(APPS[0], HOSTS[0])).await.unwrap();
    }
    assert!(stack.next().now_or_never().is_none(), "nobody knows yet");
    for _ in 0..5 {
        assert_eq!(icmp(&stack.next().await.unwrap().unwrap()).0, 0);
    }
    assert_eq!(mock.stats().opened, 1);
    tokio::time::advance(Duration::from_secs(31)).await;
    stack.send(echo_request(APPS[0], HOSTS[0])).await.unwrap();
    stack.next().await.unwrap().unwrap();
    assert_eq!(mock.stats().opened, 2, "what was found out gets old");
}

#[tokio::test(start_paused = true)]
async fn a_sweep_of_pings_asks_about_few_hosts_at_a_time() {
    let script = Script::echo().with_latency(Duration::from_secs(1));
    let (mut stack, mock) = stack(script, Config::default());
    for host in 0..=255 {
        stack.send(echo_request(APPS[0], &format!("192.0.2.{host}"))).await.unwrap();
    }
    tokio::time::timeout(Duration::from_secs(2), async { while stack.next().await.is_some() {} })
        .await
        .expect_err("a stack never ends");
    assert_eq!((mock.stats().opened, stack.stats().pings_answered), (64, 64));
}

/// Whatever the transport makes of its deadline.
#[tokio::test(start_paused = true)]
async fn a_probe_that_is_never_answered_makes_room_for_others() {
    let (mut stack, _) = stack(Script::silent(), Config::default());
    for host in 0..=255 {
        stack.send(echo_request(APPS[0], &format!("192.0.2.{host}"))).await.unwrap();
    }
    assert!(format!("{stack:?}").contains("opens: 64"), "{stack:?}");
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(stack.next().now_or_never().is_none());
    assert!(format!("{stack:?}").contains("opens: 0"), "{stack:?}");
}

/// Nothing for many, for nobody, for a neighbour or for ourselves is tunnelled by accident.
#[tokio::test(start_paused = true)]
async fn addresses_of_no_flow_are_dropped_or_refused() {
    let device = vec!["10.0.0.1/24".parse().unwrap(), "fd00::1/64".parse().unwrap()];
    let (mut stack, mock) = stack(Script::echo(), Config::default().device_networks(device));
    let silent = [
        "224.0.0.251",
        "239.255.255.250",
        "255.255.255.255",
        "10.0.0.255",
        "0.0.0.0",
        "127.0.0.1",
        "240.0.0.1",
        "ff02::fb",
        "::",
        "::1",
        "::ffff:10.0.0.1",
    ];
    let refused = ["169.254.169.254", "10.0.0.1", "fe80::1", "fd00::1"];
    for destination in silent.into_iter().chain(refused) {
        let app = APPS[usize::from(destination.contains(':'))];
        for packet in [udp(app, destination, 9), syn(app, destination)] {
            let answers = answers(&mut stack, packet).await;
            if silent.contains(&destination) {
                assert!(answers.is_empty(), "{destination}: {}", answers[0]);
            } else {
                let told = if app.contains(':') { (1, 3, 0) } else { (3, 1, 0) };
                assert_eq!(answers.iter().map(icmp).collect::<Vec<_>>(), [told], "{destination}");
            }
        }
    }
    for source in ["127.0.0.1", "224.0.0.1", "0.0.0.0", "255.255.255.255"] {
        assert!(answers(&mut stack, udp(source, HOSTS[0], 9)).await.is_empty(), "{source}");
    }
    assert_eq!((mock.stats().opened, stack.udp_flow_count(), stack.tcp_flow_count()), (0, 0, 0));
    assert_eq!(stack.stats().unroutable, (silent.len() as u64 + refused.len() as u64) * 2 + 4);
}

#[tokio::test(start_paused = true)]
async fn protocols_that_no_proxy_carries_are_said_to_be_unreachable() {
    let (mut stack, _) = stack(Script::echo(), Config::default());
    for (app, host, told) in [(APPS[0], HOSTS[0], (3, 2, 0)), (APPS[1], HOSTS[1], (4, 1, 6))] {
        let sctp = packet(app, host, 132, &[0; 12]);
        let heard = answers(&mut stack, sctp).await;
        assert_eq!(heard.iter().map(icmp).collect::<Vec<_>>(), [told]);
    }
    let nothing = packet(APPS[1], HOSTS[1], 59, &[]);
    assert!(answers(&mut stack, nothing).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_option_of_ipv6_is_pointed_at() {
    let (mut stack, mock) = stack(Script::echo(), Config::default());
    for (kind, told) in [(0x9E, vec![(4, 2, 42)]), (0x5E, vec![])] {
        let datagram = udp(APPS[1], HOSTS[1], 1).segments().next().unwrap().to_bytes();
        let options = [&[17, 0, kind, 4, 0, 0, 0, 0], &datagram[40..]].concat();
        let heard = answers(&mut stack, packet(APPS[1], HOSTS[1], 60, &options)).await;
        assert_eq!(heard.iter().map(icmp).collect::<Vec<_>>(), told);
    }
    assert_eq!(mock.stats().opened, 0);
}

#[tokio::test(start_paused = true)]
async fn d30_errors_for_one_app_are_limited_and_then_a_syn_gets_rst() {
    let (mut stack, _) = stack(Script::fail(|| OpenError::Unreachable(None)), Config::default());
    for _ in 0..1_000 {
        stack.send(packet(APPS[0], HOSTS[0], 132, &[0; 12])).await.unwrap();
    }
    let mut told = 0;
    while let Some(error) = stack.next().now_or_never() {
        assert_eq!(icmp(&error.unwrap().unwrap()).0, 3);
        told += 1;
    }
    assert_eq!((told, stack.stats().icmp_limited), (200, 800));
    for destination in [HOSTS[0], "169.254.1.1"] {
        let heard = answers(&mut stack, syn(APPS[0], destination)).await;
        let Transport::Tcp(rst) = heard[0].transport() else { panic!("{}", heard[0]) };
        assert!(rst.flags().contains(TcpFlags::RST), "{destination}");
        assert_eq!(rst.ack(), SeqNumber::new(8));
        // What waited for the answer has given some of the allowance back.
        for _ in 0..1_000 {
            stack.send(packet(APPS[0], HOSTS[0], 132, &[0; 12])).await.unwrap();
        }
        while stack.next().now_or_never().is_some() {}
    }
}

/// A refusal that is remembered is not asked for again, and its repetition is limited too.
#[tokio::test(start_paused = true)]
async fn d30_repeated_refusals_are_limited() {
    let (mut stack, _) = stack(Script::fail(|| OpenError::Refused(None)), Config::default());
    assert_eq!(answers(&mut stack, udp(APPS[0], HOSTS[0], 9)).await.len(), 1);
    let mut told = 0;
    for _ in 0..1_000 {
        stack.send(udp(APPS[0], HOSTS[0], 9)).await.unwrap();
        told += usize::from(stack.next().now_or_never().is_some());
    }
    assert_eq!(told, 200);
}

#[tokio::test(start_paused = true)]
async fn a_datagram_too_big_for_the_tunnel_is_told_the_mtu() {
    let (mut stack, _) = stack(Script::echo().with_max_datagram_size(1_200), Config::default());
    for (app, host, told) in
        [(APPS[0], HOSTS[0], (3, 4, 1_228)), (APPS[1], HOSTS[1], (2, 0, 1_248))]
    {
        assert_eq!(answers(&mut stack, udp(app, host, 1_200)).await.len(), 1, "it fits");
        let heard = answers(&mut stack, udp(app, host, 1_201)).await;
        assert_eq!(heard.iter().map(icmp).collect::<Vec<_>>(), [told]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_from_the_device_reaches_the_flow_that_it_quotes() {
    for (app, host) in APPS.into_iter().zip(HOSTS) {
        let (mut stack, mock) = stack(Script::echo(), Config::default());
        let echo = answers(&mut stack, udp(app, host, 1_400)).await.remove(0);
        let too_big = Quote::of(&echo).unwrap().too_big(1_300);
        assert!(answers(&mut stack, too_big).await.is_empty());
        let pieces = answers(&mut stack, udp(app, host, 1_400)).await;
        assert_eq!(pieces.len(), 0, "replies are dropped, as they are not to be cut");
        assert_eq!(stack.stats().udp.dropped_too_big, 1);
        let closed = Quote::of(&echo).unwrap().unreachable(Unreachable::Port);
        assert!(answers(&mut stack, closed).await.is_empty());
        assert_eq!((stack.udp_flow_count(), mock.stats().datagram_flows_ended), (0, 1));
        assert_eq!(stack.stats().icmp_errors_in, 2);
    }
}
