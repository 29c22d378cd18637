//! What apps hear when a flow cannot be opened: one errno for each cause.

mod silence;
mod tcp;
mod udp;

use std::net::{IpAddr, SocketAddr};

use nix::errno::Errno;

use crate::support::client;
use crate::support::lab::Lab;
use crate::support::lab::from_std;
use crate::support::process::Process;
use crate::support::proxy::PORT;
use crate::targets::scripted::{self, Script};

/// Why a flow cannot be opened, as a proxy tells it, and what apps hear then.
struct Cause {
    name: &'static str,
    script: Script,
    /// The errno of TCP over IPv4 and over IPv6.
    tcp: [Errno; 2],
    /// The errno of a connected UDP socket over IPv4 and over IPv6; `None` is silence.
    udp: [Option<Errno>; 2],
}

const fn script(status: u16, fields: &'static [(&'static str, &'static str)]) -> Script {
    Script { status, fields }
}

const REFUSED: [Errno; 2] = [Errno::ECONNREFUSED; 2];
const UNREACHABLE: [Errno; 2] = [Errno::EHOSTUNREACH; 2];
/// No route to an IPv6 address is taken for a proxy without IPv6, so that the app tries IPv4 at once.
const NO_ROUTE: [Errno; 2] = [Errno::EHOSTUNREACH, Errno::ENETUNREACH];
const DENIED: [Errno; 2] = [Errno::EHOSTUNREACH, Errno::EACCES];

/// The same for UDP; an unreachable IPv6 host is told as a port (a connected socket hears no more).
const UDP_REFUSED: [Option<Errno>; 2] = [Some(Errno::ECONNREFUSED); 2];
const UDP_UNREACHABLE: [Option<Errno>; 2] = [Some(Errno::EHOSTUNREACH), Some(Errno::ECONNREFUSED)];
const UDP_DENIED: [Option<Errno>; 2] = [Some(Errno::EHOSTUNREACH), Some(Errno::EACCES)];
const SILENCE: [Option<Errno>; 2] = [None; 2];

/// The port of the target that fails for the first cause.
const FIRST_PORT: u16 = 1_000;

/// The table of `crates/pipeline/src/stack/answer.rs`, as far as an answer comes at once.
const CAUSES: [Cause; 9] = [
    Cause {
        name: "refused",
        script: script(502, &[("proxy-status", "p; error=connection_refused")]),
        tcp: REFUSED,
        udp: UDP_REFUSED,
    },
    Cause { name: "connect failed, 502", script: script(502, &[]), tcp: REFUSED, udp: UDP_REFUSED },
    Cause { name: "connect failed, 503", script: script(503, &[]), tcp: REFUSED, udp: UDP_REFUSED },
    Cause {
        name: "unreachable",
        script: script(502, &[("proxy-status", "p; error=destination_unavailable")]),
        tcp: UNREACHABLE,
        udp: UDP_UNREACHABLE,
    },
    Cause {
        name: "no route",
        script: script(502, &[("proxy-status", "p; error=destination_ip_unroutable")]),
        tcp: NO_ROUTE,
        udp: UDP_UNREACHABLE,
    },
    Cause {
        name: "unresolved",
        script: script(502, &[("proxy-status", "p; error=dns_error; rcode=\"NXDOMAIN\"")]),
        tcp: UNREACHABLE,
        udp: UDP_UNREACHABLE,
    },
    Cause { name: "denied", script: script(403, &[]), tcp: DENIED, udp: UDP_DENIED },
    Cause { name: "unauthenticated", script: script(407, &[]), tcp: DENIED, udp: UDP_DENIED },
    Cause { name: "protocol", script: script(302, &[]), tcp: REFUSED, udp: SILENCE },
];

/// The port of a target that fails for `CAUSES[index]`.
fn port_of(index: usize) -> u16 {
    FIRST_PORT + u16::try_from(index).expect("few causes")
}

fn script_of(port: u16) -> Script {
    CAUSES[usize::from(port - FIRST_PORT)].script
}

/// The program under test behind a proxy that fails every flow, by the target's port.
fn scripted(lab: &Lab) -> Process {
    let listener = lab.proxy.listen(PORT);
    let tls = lab.certificate.server.clone();
    lab.spawn(async { scripted::serve(from_std(listener), tls, script_of).await });
    client::up(lab, &[])
}

fn address(host: &str, port: u16) -> SocketAddr {
    SocketAddr::new(host.parse::<IpAddr>().expect("an address"), port)
}
