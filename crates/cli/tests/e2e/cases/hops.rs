//! Two proxies of two makes, one reached through the other.

use crate::support::lab::Lab;
use crate::support::need::{self, Need};
use crate::support::proxy::{self, Kind};
use crate::support::{client, flow};

/// The port of the proxy that is reached through the first.
const SECOND: u16 = 8444;

#[test]
fn our_proxy_behind_envoy_carries_tcp_and_udp() {
    carries_tcp_and_udp([Kind::Envoy, Kind::Ours]);
}

#[test]
fn envoy_behind_our_proxy_carries_tcp_and_udp() {
    carries_tcp_and_udp([Kind::Ours, Kind::Envoy]);
}

fn carries_tcp_and_udp([nearest, farthest]: [Kind; 2]) {
    if !need::met(&[Need::Envoy]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_echo();
    lab.serve_datagrams();
    let _nearest = proxy::start_at(&lab, proxy::PORT, nearest);
    let _farthest = proxy::start_at(&lab, SECOND, farthest);
    let client = client::start_through(&lab, &[&proxy::url(), &proxy::url_at(SECOND)], &[]);
    client.wait_line("ready");
    flow::many(&lab, 10).iter_mut().for_each(flow::answers);
    flow::echoes_datagrams(&lab);
}
