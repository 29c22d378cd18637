//! Fragments on both sides of the stack.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, SinkExt, StreamExt};
use pseudotcp_masque_mock::{Mock, Script};
use pseudotcp_packet::reassembly::{Config, Reassembler};
use pseudotcp_packet::{Packet, Transport, build};
use pseudotcp_pipeline::{Fragments, Guard, Judge, Stack, stack};
use pseudotcp_policy::{Rules, defaults};

const ENDS: [(&str, &str); 2] =
    [("10.0.0.1:5000", "192.0.2.7:7"), ("[fd00::1]:5000", "[2001:db8::7]:7")];
const MTU: u32 = 1_500;

type Port = Fragments<Guard<Stack>>;

fn port(rules: Rules) -> Port {
    let mock = Mock::new(Script::echo());
    let stack = Stack::new(stack::Config::for_device(MTU, false), Arc::new(mock)).unwrap();
    let limit = stack.icmp_limit();
    Fragments::new(
        Config::default(),
        MTU,
        limit.clone(),
        Guard::new(Judge::new(rules), limit, stack),
    )
}

fn datagram((app, server): (&str, &str), len: usize) -> Packet {
    let payload: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
    build::datagram(app.parse().unwrap(), server.parse().unwrap(), payload.into(), None).unwrap()
}

async fn send(port: &mut Port, fragments: impl IntoIterator<Item = Packet>) {
    for fragment in fragments {
        port.send(Packet::parse(fragment.to_bytes()).unwrap()).await.unwrap();
    }
}

/// The next packet, as the device gets it; within a moment of virtual time.
async fn next(port: &mut Port) -> Option<Packet> {
    let next = tokio::time::timeout(Duration::from_millis(10), port.next()).await;
    next.ok().map(|packet| packet.unwrap().unwrap())
}

fn icmp(packet: &Packet) -> (u8, u8) {
    match packet.transport() {
        Transport::Icmp(icmp) | Transport::Icmpv6(icmp) => (icmp.kind(), icmp.code()),
        _ => panic!("no ICMP: {packet}"),
    }
}

#[tokio::test(start_paused = true)]
async fn d28_a_large_datagram_goes_and_comes_in_fragments_and_whole() {
    for ends in ENDS {
        for len in [1_473, 4_000, 65_000] {
            let mut port = port(Rules::default());
            let sent = datagram(ends, len);
            send(&mut port, sent.fragments(1_280, 1)).await;
            let mut app = Reassembler::new(Config::default());
            let mut echo = None;
            while let Some(piece) = next(&mut port).await {
                assert!(piece.total_len() <= MTU as usize, "{piece}");
                let piece = Packet::parse(piece.to_bytes()).expect("a valid packet");
                echo = echo.or(app.handle_packet(tokio::time::Instant::now().into_std(), piece));
            }
            let echo = echo.expect("an echo");
            assert_eq!(echo.flow().unwrap(), sent.flow().unwrap().reversed());
            assert_eq!(Bytes::from(echo.body().concat()), Bytes::from(sent.body().concat()));
            assert_eq!((port.stats().packets_cut, port.stats().reassembly.reassembled), (1, 1));
        }
    }
}

/// Else a rule about a port would be got round by fragmenting.
#[tokio::test(start_paused = true)]
async fn rules_see_whole_packets() {
    let rules = Rules::builder().rule(defaults::reject_private()).build();
    let mut port = port(rules);
    let private = datagram(("10.0.0.1:5000", "10.9.9.9:7"), 4_000);
    send(&mut port, private.fragments(1_500, 1)).await;
    assert_eq!(icmp(&next(&mut port).await.expect("an answer")).0, 3);
    assert_eq!(port.port().port().udp_flow_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_packet_is_told_after_a_minute_and_no_timer_stays() {
    for (ends, told) in ENDS.into_iter().zip([(11, 1), (3, 1)]) {
        let mut port = port(Rules::default());
        send(&mut port, datagram(ends, 4_000).fragments(1_500, 1).take(2)).await;
        assert!(next(&mut port).await.is_none());
        let told_at = tokio::time::Instant::now();
        let error = port.next().await.unwrap().unwrap();
        assert_eq!(icmp(&error), told);
        assert!(told_at.elapsed() >= Duration::from_secs(59), "{:?}", told_at.elapsed());
        assert!(port.next().now_or_never().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn d30_errors_about_fragments_are_limited_too() {
    let mut port = port(Rules::default());
    for identification in 0..1_000 {
        let sent = datagram(ENDS[0], 4_000);
        send(&mut port, sent.fragments(1_500, identification).take(1)).await;
    }
    tokio::time::advance(Duration::from_mins(1)).await;
    let mut told = 0;
    while let Some(error) = port.next().now_or_never() {
        assert_eq!(icmp(&error.unwrap().unwrap()), (11, 1));
        told += 1;
    }
    assert!((1..=200).contains(&told), "{told} errors at once");
}
