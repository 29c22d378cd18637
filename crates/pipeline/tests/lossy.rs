//! A device that loses, doubles and swaps packets changes no byte.

mod common;

use std::sync::Arc;

use pseudotcp_masque_mock::{Mock, Script};
use pseudotcp_pipeline::Stack;
use pseudotcp_pipeline::stack::Config;
use pseudotcp_testkit::{Faults, Faulty, TcpState, seed};

use common::Lab;

/// The bytes that go each way.
const BYTES: usize = 50_000_000;

/// The byte at an offset: no two stretches of the stream are alike.
fn byte(offset: usize) -> u8 {
    let mixed = (offset as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    u8::try_from(mixed >> 56).unwrap()
}

#[tokio::test(start_paused = true)]
async fn fifty_megabytes_each_way_survive_a_lossy_device() {
    let seed = seed();
    let faults = Faults { drop: 0.01, duplicate: 0.005, reorder: 0.005, corrupt: 0.001, mtu: None };
    let stack = Stack::new(Config::default(), Arc::new(Mock::new(Script::echo()))).unwrap();
    let mut lab = Lab::new(Faulty::new(stack, faults, faults, seed));
    let (to_app, from_app) = (lab.port.inbound(), lab.port.outbound());
    let flow = lab.connect("192.0.2.1:80");
    lab.until_state(flow, TcpState::Established).await;
    let mut chunk = vec![0; 64 * 1024];
    let (mut sent, mut received) = (0, 0);
    lab.until(|host| {
        let len = chunk.len().min(BYTES - sent);
        chunk.iter_mut().zip(sent..).for_each(|(octet, offset)| *octet = byte(offset));
        sent += host.send(flow, &chunk[..len]);
        for octet in host.recv(flow, usize::MAX) {
            assert_eq!(octet, byte(received), "at {received}, seed {seed}");
            received += 1;
        }
        received == BYTES
    })
    .await;
    for faults in [to_app, from_app] {
        assert!(faults.dropped() >= 200, "only {} packets were lost", faults.dropped());
    }
    let retransmissions = lab.port.port().stats().tcp.retransmissions;
    assert!(retransmissions >= 200, "only {retransmissions} retransmissions");
}
