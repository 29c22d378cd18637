//! The proxies to go through: ours, and Envoy.

use std::fs;

use super::lab::{Lab, PROXY};
use super::need;
use super::process::Process;

/// Where a proxy listens.
pub(crate) const PORT: u16 = 8443;

/// Which proxy a test goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `pseudotcp proxy`.
    Ours,
    /// Envoy, configured by `interop/envoy.yaml`.
    Envoy,
}

/// Starts a proxy in the lab, and waits until it listens.
pub(crate) fn start(lab: &Lab, kind: Kind) -> Process {
    match kind {
        Kind::Ours => ours(lab, &[]),
        Kind::Envoy => envoy(lab),
    }
}

/// Starts ours with more arguments.
pub(crate) fn ours(lab: &Lab, arguments: &[&str]) -> Process {
    let mut command = lab.proxy.command(env!("CARGO_BIN_EXE_pseudotcp"));
    command.args(["proxy", "--listen", &format!("[::]:{PORT}")]);
    command.arg("--cert").arg(&lab.certificate.chain);
    command.arg("--key").arg(&lab.certificate.key);
    let proxy = Process::start("proxy", {
        command.args(arguments);
        command
    });
    proxy.wait_line("listening");
    proxy
}

fn envoy(lab: &Lab) -> Process {
    let program = need::envoy().expect("the test asked for Envoy");
    let template = include_str!("../../../../../interop/envoy.yaml");
    let config = template
        .replace("@PORT@", &PORT.to_string())
        .replace("@CERT@", &lab.certificate.chain.display().to_string())
        .replace("@KEY@", &lab.certificate.key.display().to_string());
    let file = lab.file("envoy.yaml");
    fs::write(&file, config).expect("write Envoy's configuration");
    let mut command = lab.proxy.command(program);
    command.arg("-c").arg(file);
    command.args(["--use-dynamic-base-id", "--concurrency", "1"]);
    command.args(["--log-level", "warning", "--component-log-level", "main:info"]);
    let envoy = Process::start("envoy", command);
    envoy.wait_line("starting main dispatch loop");
    envoy
}

/// The proxy's address for clients.
pub(crate) fn url() -> String {
    format!("https://{PROXY}:{PORT}")
}
