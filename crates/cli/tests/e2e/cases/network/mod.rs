//! The network as the tools of network people see it: pings, traces, scans, fragments, NAT and QUIC.

mod fragments;
mod nat;
mod ping;
mod quic;
mod scan;

use std::process::{Command, Stdio};

/// A closed port of the server.
const CLOSED: u16 = 11;

/// What a program prints, and whether it was content.
fn output(command: &mut Command) -> (String, bool) {
    let output = command.stderr(Stdio::inherit()).output().expect("run the program");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
}
