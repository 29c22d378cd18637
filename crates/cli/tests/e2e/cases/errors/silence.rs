//! Causes that may pass: the app waits, and the proxy is not asked again for every SYN.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;

use super::{Script, address, script};
use crate::support::client;
use crate::support::clock::timed;
use crate::support::failure::errno;
use crate::support::lab::{Lab, SERVERS, from_std};
use crate::support::need;
use crate::support::process::Process;
use crate::support::proxy::{self, Kind, PORT};
use crate::targets::scripted;

/// How long an open may take before the app hears of it, and how late that may be.
const DEADLINE: Duration = Duration::from_secs(30);
const LATE: Duration = Duration::from_secs(4);

/// The proxy's own limit has passed, or it asks to come back later than the app would wait.
const TIMED_OUT: Script = script(504, &[]);
const OVERLOADED: Script = script(429, &[("retry-after", "60")]);

/// The ports of the targets that fail so.
const PORTS: [u16; 2] = [1, 2];

#[test]
fn transient_causes_are_silent_until_the_deadline() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    let asked = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let _client = counting_proxy(&lab, &asked);
    thread::scope(|scope| {
        for target in SERVERS.iter().flat_map(|server| PORTS.map(|port| address(server, port))) {
            let lab = &lab;
            scope.spawn(move || times_out(lab, target, Errno::EHOSTUNREACH));
        }
    });
    let asked = asked.each_ref().map(|count| count.load(Ordering::Relaxed));
    assert!((2..=16).contains(&asked[0]), "{asked:?}: again after each back-off, for two flows");
    // RFC 6069 §4.2: on the final ICMP error Linux repeats its IPv4 SYN once before it gives up.
    assert!((2..=3).contains(&asked[1]), "{asked:?}: not before the proxy's time has come");
}

/// With no proxy at all the SYN is held, for the proxy may come back; then it is refused.
#[test]
fn absent_proxy_refuses_at_the_deadline() {
    if !need::met(&[]) {
        return;
    }
    let lab = Lab::new();
    let proxy = proxy::start(&lab, Kind::Ours);
    let _client = client::up(&lab, &[]);
    drop(proxy);
    thread::scope(|scope| {
        for server in SERVERS {
            let lab = &lab;
            scope.spawn(move || times_out(lab, address(server, 80), Errno::ECONNREFUSED));
        }
    });
}

fn counting_proxy(lab: &Lab, asked: &Arc<[AtomicU32; 2]>) -> Process {
    let listener = lab.proxy.listen(PORT);
    let (tls, asked) = (lab.certificate.server.clone(), Arc::clone(asked));
    let scripts = move |port| {
        let (index, script) = if port == PORTS[0] { (0, TIMED_OUT) } else { (1, OVERLOADED) };
        asked[index].fetch_add(1, Ordering::Relaxed);
        script
    };
    lab.spawn(async { scripted::serve(from_std(listener), tls, scripts).await });
    client::up(lab, &[])
}

/// Connects in vain, but not before the deadline.
fn times_out(lab: &Lab, target: SocketAddr, expected: Errno) {
    let (outcome, took) = timed(|| lab.client.run(|| TcpStream::connect(target)));
    assert_eq!(errno(&outcome.expect_err("a failure")), expected, "{target}");
    assert!(took + LATE > DEADLINE && took < DEADLINE + LATE, "{target} took {took:?}");
}
