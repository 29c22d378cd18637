//! `pseudotcp up` in the client's namespace.

use std::process::Command;

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
    Process::start("client", command(lab, hops, arguments))
}

/// The program under test with these proxies for hops.
pub(crate) fn command(lab: &Lab, hops: &[&str], more: &[&str]) -> Command {
    let mut command = lab.client.command(env!("CARGO_BIN_EXE_pseudotcp"));
    command.args(arguments(lab, hops, more));
    command
}

/// Its arguments, those that every test has first.
pub(crate) fn arguments(lab: &Lab, hops: &[&str], more: &[&str]) -> Vec<String> {
    let pin = lab.certificate.chain.display().to_string();
    let mut arguments = vec!["up", "--tun", DEVICE, "--pin", &pin];
    arguments.extend(hops.iter().flat_map(|hop| ["--proxy", hop]));
    arguments.extend(ROUTES.iter().flat_map(|route| ["--route", route]));
    arguments.extend(more);
    arguments.into_iter().map(str::to_owned).collect()
}
