//! `pseudotcp up` in the client's namespace.

use super::lab::{Lab, ROUTES};
use super::process::Process;
use super::proxy;

/// The name of the device.
pub(crate) const DEVICE: &str = "ptcp0";

/// Starts the program under test and waits until traffic can flow.
pub(crate) fn up(lab: &Lab, arguments: &[&str]) -> Process {
    let client = start(lab, arguments);
    client.wait_line("ready");
    client
}

/// Starts the program under test.
pub(crate) fn start(lab: &Lab, arguments: &[&str]) -> Process {
    start_through(lab, &[&proxy::url()], arguments)
}

/// Starts the program under test with these proxies for hops.
pub(crate) fn start_through(lab: &Lab, hops: &[&str], arguments: &[&str]) -> Process {
    let mut command = lab.client.command(env!("CARGO_BIN_EXE_pseudotcp"));
    command.args(["up", "--tun", DEVICE]).arg("--pin");
    command.arg(&lab.certificate.chain);
    for hop in hops {
        command.args(["--proxy", hop]);
    }
    for route in ROUTES {
        command.args(["--route", route]);
    }
    command.args(arguments);
    Process::start("client", command)
}
