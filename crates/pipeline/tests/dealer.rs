//! Flows are dealt out to shards, and stay where they are while anybody claims them.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use pseudotcp_masque_mock::{Mock, Script};
use pseudotcp_packet::{FlowKey, Protocol};
use pseudotcp_pipeline::{Claim, Dealer, Stack, stack};
use pseudotcp_testkit::TcpState;

use common::Lab;

/// What a device is told.
#[derive(Clone)]
struct Table(Arc<Vec<AtomicU8>>);

impl Table {
    fn new() -> Self {
        Self(Arc::new((0..FlowKey::BUCKETS).map(|_| AtomicU8::new(0)).collect()))
    }

    fn queue(&self, flow: &FlowKey) -> usize {
        self.0[flow.bucket()].load(Ordering::SeqCst).into()
    }
}

impl AsRef<[AtomicU8]> for Table {
    fn as_ref(&self) -> &[AtomicU8] {
        &self.0
    }
}

/// A flow by the port of its app; those of fewer than 512 ports are in buckets of their own.
fn flow(port: u16) -> FlowKey {
    let app = SocketAddr::from(([10, 0, 0, 1], 40_000 + port));
    FlowKey::new(Protocol::Tcp, app, ([192, 0, 2, 7], 443).into())
}

fn deal(dealer: &Arc<Dealer>, ports: impl IntoIterator<Item = u16>) -> Vec<Claim> {
    ports.into_iter().map(|port| dealer.claim(&flow(port))).collect()
}

fn owners(claims: &[Claim]) -> Vec<usize> {
    claims.iter().map(Claim::owner).collect()
}

#[test]
fn the_shard_with_the_fewest_flows_gets_the_next_one() {
    let dealer = Dealer::new(3, None);
    let mut claims = deal(&dealer, 0..10);
    // The others sleep on until the first has two.
    assert_eq!(owners(&claims), [0, 0, 1, 1, 2, 2, 0, 1, 2, 0]);
    claims.retain(|claim| claim.owner() != 1);
    assert_eq!(owners(&deal(&dealer, 10..13)), [1, 1, 1]);
}

#[test]
fn flows_one_after_the_other_wake_nobody() {
    let dealer = Dealer::new(4, None);
    for port in 0..100 {
        assert_eq!(owners(&deal(&dealer, [port])), [0]);
    }
}

#[test]
fn a_bucket_is_dealt_out_anew_when_nobody_claims_it_any_more() {
    let table = Table::new();
    let dealer = Dealer::new(2, Some(Box::new(table.clone())));
    let others = deal(&dealer, 0..2);
    let (one, same) = (dealer.claim(&flow(7)), dealer.claim(&flow(7).reversed()));
    assert_eq!((one.owner(), table.queue(&flow(7))), (1, 1));
    drop(others);
    drop(one);
    assert_eq!((same.owner(), dealer.claim(&flow(7)).owner()), (1, 1));
    drop(same);
    assert_eq!((dealer.owner(&flow(7)), table.queue(&flow(7))), (0, 0));
    assert_eq!(dealer.claim(&flow(7)).owner(), 0);
}

proptest! {
    #[test]
    fn whoever_claims_a_flow_the_device_and_the_dealer_agree_on_its_owner(
        shards in 1..6_u8,
        steps in vec((0..24_u16, any::<bool>()), 1..200),
    ) {
        let table = Table::new();
        let dealer = Dealer::new(shards, Some(Box::new(table.clone())));
        let mut claims: Vec<(FlowKey, Claim, usize)> = Vec::new();
        for (port, comes) in steps {
            if comes {
                let claim = dealer.claim(&flow(port));
                let owner = claim.owner();
                claims.push((flow(port), claim, owner));
            } else if !claims.is_empty() {
                drop(claims.swap_remove(usize::from(port) % claims.len()));
            }
            for (flow, claim, owner) in &claims {
                prop_assert_eq!(claim.owner(), *owner);
                prop_assert_eq!(dealer.owner(flow), *owner);
                prop_assert_eq!(table.queue(flow), *owner);
                prop_assert!(*owner < shards.into());
            }
        }
        claims.clear();
        prop_assert!((0..24).all(|port| table.queue(&flow(port)) == 0));
    }
}

#[test]
fn many_threads_agree_too() {
    let table = Table::new();
    let dealer = Dealer::new(3, Some(Box::new(table.clone())));
    thread::scope(|scope| {
        for first in 0..4_u16 {
            let dealer = &dealer;
            scope.spawn(move || {
                for round in 0..20_000_u16 {
                    // Four flows, so that threads meet.
                    let flow = flow((first + round) % 4);
                    let one = dealer.claim(&flow);
                    let owner = one.owner();
                    let other = dealer.claim(&flow);
                    assert_eq!((other.owner(), dealer.owner(&flow)), (owner, owner));
                    drop(one);
                    assert_eq!(other.owner(), owner);
                }
            });
        }
    });
    assert!((0..4).all(|port| table.queue(&flow(port)) == 0));
    assert!(format!("{dealer:?}").contains("loads: [0, 0, 0]"), "{dealer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stack_claims_its_flows_until_they_end() {
    let table = Table::new();
    let dealer = Dealer::new(2, Some(Box::new(table.clone())));
    // So that what the stack claims is dealt to the other one.
    let _busy = deal(&dealer, 0..2);
    let told = || table.as_ref().iter().filter(|queue| queue.load(Ordering::SeqCst) == 1).count();
    let stack = Stack::new(stack::Config::default(), Arc::new(Mock::new(Script::echo()))).unwrap();
    let mut lab = Lab::new(stack.dealt_by(Arc::clone(&dealer)));
    let tcp = lab.connect("192.0.2.1:443");
    lab.until_state(tcp, TcpState::Established).await;
    assert_eq!(told(), 1);
    let peer = "192.0.2.2:53000".parse().unwrap();
    let udp = lab.bind("192.0.2.2:53000");
    lab.host.borrow_mut().send_to(udp, peer, b"anybody?");
    lab.until(|host| host.recv_from(udp).is_some()).await;
    assert_eq!((told(), lab.port.udp_flow_count()), (2, 1));
    lab.host.borrow_mut().abort(tcp);
    lab.pass(Duration::from_secs(1)).await;
    assert_eq!((told(), lab.port.tcp_flow_count()), (1, 0));
    // Longer than a flow without datagrams lives.
    lab.pass(Duration::from_mins(10)).await;
    assert_eq!((told(), lab.port.udp_flow_count()), (0, 0));
}
