//! The proxies to go through: ours, Envoy, and two that know CONNECT only.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

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
    /// nghttpx, configured by `interop/nghttpx.conf`, which needs [`squid`] behind it.
    Nghttpx,
    /// Apache, configured by `interop/apache.conf`.
    Apache,
}

/// Starts a proxy in the lab, and waits until it listens.
pub(crate) fn start(lab: &Lab, kind: Kind) -> Process {
    start_at(lab, PORT, kind)
}

/// Starts a proxy at another port.
pub(crate) fn start_at(lab: &Lab, port: u16, kind: Kind) -> Process {
    match kind {
        Kind::Ours => ours_at(lab, port, &[]),
        Kind::Envoy => envoy(lab, port, &[]),
        Kind::Nghttpx => nghttpx(lab, port),
        Kind::Apache => apache(lab, port),
    }
}

/// Starts ours with more arguments.
pub(crate) fn ours(lab: &Lab, arguments: &[&str]) -> Process {
    ours_at(lab, PORT, arguments)
}

fn ours_at(lab: &Lab, port: u16, arguments: &[&str]) -> Process {
    listening(ours_command(lab, port, arguments))
}

/// Ours, before it is started.
pub(crate) fn ours_command(lab: &Lab, port: u16, arguments: &[&str]) -> Command {
    let mut command = lab.proxy.command(env!("CARGO_BIN_EXE_pseudotcp"));
    command.args(["proxy", "--listen", &format!("[::]:{port}")]);
    command.arg("--cert").arg(&lab.certificate.chain);
    command.arg("--key").arg(&lab.certificate.key);
    command.args(arguments);
    command
}

/// Starts ours, and waits until it listens.
pub(crate) fn listening(command: Command) -> Process {
    let proxy = Process::start("proxy", command);
    proxy.wait_line("listening");
    proxy
}

/// Starts Envoy with more arguments.
pub(crate) fn envoy(lab: &Lab, port: u16, arguments: &[&str]) -> Process {
    let program = need::envoy().expect("the test asked for Envoy");
    let template = include_str!("../../../../../interop/envoy.yaml");
    let file = configuration(lab, port, "envoy.yaml", template);
    let mut command = lab.proxy.command(program);
    command.arg("-c").arg(file);
    command.args(arguments).args(["--use-dynamic-base-id", "--concurrency", "1"]);
    command.args(["--log-level", "warning", "--component-log-level", "main:info"]);
    let envoy = Process::start("envoy", command);
    envoy.wait_line("starting main dispatch loop");
    envoy
}

fn nghttpx(lab: &Lab, port: u16) -> Process {
    let template = include_str!("../../../../../interop/nghttpx.conf");
    let file = configuration(lab, port, "nghttpx.conf", template);
    let mut command = lab.proxy.command("nghttpx");
    command.arg(format!("--conf={}", file.display()));
    let nghttpx = Process::start("nghttpx", command);
    nghttpx.wait_line("Created worker thread");
    nghttpx
}

/// Starts the proxy that does the work for nghttpx.
pub(crate) fn squid(lab: &Lab) -> Process {
    let template = include_str!("../../../../../interop/squid.conf");
    let file = configuration(lab, PORT, "squid.conf", template);
    let mut command = lab.proxy.command("squid");
    command.args(["-N", "-d", "1", "-f"]).arg(file);
    let squid = Process::start("squid", command);
    squid.wait_line("Accepting HTTP Socket connections");
    squid
}

fn apache(lab: &Lab, port: u16) -> Process {
    let template = include_str!("../../../../../interop/apache.conf");
    let file = configuration(lab, port, "apache.conf", template);
    let mut command = lab.proxy.command("apache2");
    command.arg("-X").arg("-f").arg(file);
    let apache = Process::start("apache", command);
    apache.wait_line("start_threads");
    apache
}

/// A configuration with its placeholders filled in, as a file.
fn configuration(lab: &Lab, port: u16, name: &str, template: &str) -> PathBuf {
    let file = lab.file(&format!("{port}-{name}"));
    let folder = file.parent().expect("the lab's folder");
    let config = template
        .replace("@PORT@", &port.to_string())
        .replace("@FOLDER@", &folder.display().to_string())
        .replace("@CERT@", &lab.certificate.chain.display().to_string())
        .replace("@KEY@", &lab.certificate.key.display().to_string());
    fs::write(&file, config).unwrap_or_else(|error| panic!("write {name}: {error}"));
    file
}

/// The proxy's address for clients.
pub(crate) fn url() -> String {
    url_at(PORT)
}

/// The address of a proxy at another port.
pub(crate) fn url_at(port: u16) -> String {
    format!("https://{PROXY}:{port}")
}
