//! The proxy dies, or stands still.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::clock::{self, timed};
use crate::support::lab::Lab;
use crate::support::need;
use crate::support::proxy::{self, Kind};
use crate::support::{client, flow};

/// The port of a second proxy.
const SECOND: u16 = 8444;

/// How long the proxy stands still.
const PAUSE: Duration = Duration::from_secs(10);

/// Open flows hear a reset, and within a second of the proxy's return new ones work.
#[test]
fn d13_open_flows_are_reset_and_new_ones_work_again() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_echo();
    let proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &[]);
    let mut flows = flow::many(&lab, 5);
    drop(proxy);
    flows.iter_mut().for_each(flow::is_reset);
    let _proxy = proxy::start(&lab, Kind::Ours);
    let took = flow::works(&lab);
    assert!(took < Duration::from_secs(1), "the first flow took {took:?}");
}

/// While the first of two proxies is away, new flows take the second at once.
#[test]
fn the_second_proxy_serves_while_the_first_is_away() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_echo();
    let first = proxy::start(&lab, Kind::Ours);
    let _second = proxy::start_at(&lab, SECOND, Kind::Ours);
    let list = format!("{},{}", proxy::url(), proxy::url_at(SECOND));
    let client = client::start_through(&lab, &[&list], &[]);
    client.wait_line("ready");
    flow::works(&lab);
    drop(first);
    let took = flow::works(&lab);
    println!("the first flow through the second proxy took {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// Open flows hear the truth when the proxy stands still, and traffic flows again when it goes on.
#[test]
fn a_proxy_that_stands_still_is_noticed_and_used_again() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.serve_echo();
    let proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &[]);
    let mut flows = flow::many(&lab, 50);
    let begun = clock::now();
    proxy.signal(Signal::SIGSTOP);
    let ((), noticed) = timed(|| flows.iter_mut().for_each(flow::is_reset));
    assert!(noticed < PAUSE, "{noticed:?}");
    clock::wait_until(begun + PAUSE);
    proxy.signal(Signal::SIGCONT);
    let back = flow::works(&lab);
    println!(
        "the flows heard of the pause after {noticed:?}, and {back:?} after it a new one worked"
    );
    assert!(back < Duration::from_secs(5), "{back:?}");
}
