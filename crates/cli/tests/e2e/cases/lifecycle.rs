//! `pseudotcp up` leaves the machine as it found it.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::client::{self, DEVICE};
use crate::support::lab::Lab;
use crate::support::need;
use crate::support::proxy::{self, Kind};

/// All that the program may change of a namespace, as `ip` prints it; whether the kernel has made sure
/// of an address by now is none of that.
pub(super) fn state(lab: &Lab) -> [String; 5] {
    ["-4 route show table all", "-6 route", "address", "-4 rule", "-6 rule"]
        .map(|what| lab.client.ip(what).replace(" tentative", ""))
}

#[test]
fn sigterm_takes_everything_back() {
    if need::met(&[]) {
        takes_everything_back(Signal::SIGTERM, &[]);
    }
}

#[test]
fn rules_and_tables_are_taken_back() {
    if need::met(&[]) {
        takes_everything_back(Signal::SIGTERM, &["--mark", "7777", "--route", "0.0.0.0/0"]);
    }
}

#[test]
fn every_queue_is_taken_back() {
    if need::met(&[]) {
        takes_everything_back(Signal::SIGTERM, &["--shards", "4"]);
    }
}

#[test]
fn sigint_takes_everything_back() {
    if need::met(&[]) {
        takes_everything_back(Signal::SIGINT, &[]);
    }
}

fn takes_everything_back(signal: Signal, more: &[&str]) {
    let lab = Lab::new();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let before = state(&lab);
    let arguments = ["--address", "10.99.99.10/24", "--address", "fd99::10/64", "--mtu", "1400"];
    let mut client = client::up(&lab, &[&arguments[..], more].concat());
    let device = lab.client.ip(&format!("address show dev {DEVICE}"));
    for expected in ["mtu 1400", "10.99.99.10/24", "fd99::10/64"] {
        assert!(device.contains(expected), "no {expected} in {device}");
    }
    assert_ne!(state(&lab), before);
    client.signal(signal);
    let status = client.wait(Duration::from_secs(2));
    assert!(status.success(), "{status}");
    assert_eq!(state(&lab), before);
}

#[test]
fn sigusr1_shows_counters() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = proxy::start(&lab, Kind::Ours);
    let client = client::up(&lab, &[]);
    client.signal(Signal::SIGUSR1);
    client.wait_line("flows");
}
