//! The client's link goes down and comes back, or the proxy moves to another address.

use crate::support::clock::timed;
use crate::support::lab::{Lab, PROXY};
use crate::support::need;
use crate::support::process::Process;
use crate::support::proxy::{self, Kind, PORT};
use crate::support::{client, flow};

/// The proxy's address behind its own gateway.
const BEHIND: &str = "198.51.100.1";

/// Another address of the proxy.
const ELSEWHERE: &str = "192.0.2.77";

/// A name of the proxy that is known to the client only.
const NAME: &str = "proxy.example";

/// Flows that are open while something happens.
const FLOWS: usize = 20;

/// Everything is led into the TUN, the proxy is behind a gateway, and the kernel forgets the way to
/// it with the link.
#[test]
fn traffic_flows_again_after_the_link_was_down() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_echo();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let default_route = || lab.client.ip("route replace default via 192.0.2.1");
    default_route();
    let url = format!("https://{BEHIND}:{PORT}");
    let client = client::start_through(&lab, &[&url], &["--route", "0.0.0.0/0"]);
    client.wait_line("ready");
    let mut flows = flow::many(&lab, FLOWS);
    lab.client.ip("link set outside down");
    let ((), noticed) = timed(|| flows.iter_mut().for_each(flow::is_reset));
    lab.client.ip("link set outside up");
    default_route();
    let back = flow::works(&lab);
    println!("the flows heard after {noticed:?}, and {back:?} after the link's return one worked");
}

/// A link that is away for a moment costs no flow.
#[test]
fn open_flows_outlive_a_moment_without_a_link() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_echo();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &[]);
    let mut flows = flow::many(&lab, FLOWS);
    lab.client.ip("link set outside down");
    lab.client.ip("link set outside up");
    let ((), took) = timed(|| flows.iter_mut().for_each(flow::answers));
    println!("all flows went on after {took:?}");
}

/// The proxy's name means another address, and the old one is nobody's.
#[test]
fn a_proxy_that_has_moved_is_found_by_its_name() {
    if need::met(&[]) {
        moves(&[PROXY]);
    }
}

/// Of the two addresses that the name had from the start, one goes away.
#[test]
fn a_proxy_that_has_lost_an_address_is_reached_at_the_other() {
    if need::met(&[]) {
        moves(&[PROXY, ELSEWHERE]);
    }
}

/// Everything is led into the TUN, the proxy's network too, and the proxy gets an address to which no
/// way was pinned at the start.
#[test]
fn a_proxy_that_has_moved_behind_its_gateway_is_not_looked_for_in_the_tun() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_echo();
    lab.proxy.set("net/ipv4/conf/server/promote_secondaries", "1");
    // What the proxy itself reaches the server from.
    lab.proxy.ip("address add 198.51.100.9/24 dev server");
    lab.client.ip("route add default via 192.0.2.1");
    lab.client.ip("-6 route add default via 2001:db8:1::1");
    let _proxy = proxy::start(&lab, Kind::Ours);
    lab.client.name(NAME, &[BEHIND]);
    let url = format!("https://{NAME}:{PORT}");
    let routes = ["-v", "--route", "0.0.0.0/0", "--route", "::/0"];
    let client = client::start_through(&lab, &[&url], &routes);
    client.wait_line("ready");
    let mut before = BEHIND;
    for now in ["198.51.100.77", "2001:db8:2::77"] {
        let length = if now.contains(':') { "64 nodad" } else { "24" };
        lab.proxy.ip(&format!("address add {now}/{length} dev server"));
        let mut flow = flow::connect(&lab);
        lab.proxy.ip(&format!("address delete {before}/24 dev server"));
        lab.client.name(NAME, &[now]);
        flow::is_reset(&mut flow);
        let back = flow::works(&lab);
        client.wait_line(now);
        println!("a new flow worked {back:?} after the old ones had heard of the move to {now}");
        before = now;
    }
}

fn moves(known: &[&str]) {
    let lab = Lab::new();
    lab.serve_echo();
    let _proxy = proxy::start(&lab, Kind::Ours);
    lab.proxy.set("net/ipv4/conf/client/promote_secondaries", "1");
    lab.proxy.ip(&format!("address add {ELSEWHERE}/24 dev client"));
    lab.client.name(NAME, known);
    let client = up_by_name(&lab);
    let mut flows = flow::many(&lab, FLOWS);
    lab.proxy.ip(&format!("address delete {PROXY}/24 dev client"));
    lab.client.name(NAME, &[ELSEWHERE]);
    let ((), noticed) = timed(|| flows.iter_mut().for_each(flow::is_reset));
    let back = flow::works(&lab);
    client.wait_line(ELSEWHERE);
    println!("the flows heard after {noticed:?}, and a new one worked {back:?} later");
}

fn up_by_name(lab: &Lab) -> Process {
    let url = format!("https://{NAME}:{PORT}");
    let client = client::start_through(lab, &[&url], &["-v"]);
    client.wait_line("ready");
    client
}
