//! A stand-in for systemd-resolved, on a bus of its own.

use std::fs;

use super::lab::Lab;
use super::need;
use super::process::Process;

/// The service as a script; it prints what it is told.
const SCRIPT: &str = include_str!("resolved.py");

/// A D-Bus of the lab's own.
pub(crate) struct Bus {
    pub(crate) address: String,
    _daemon: Process,
}

/// Starts a bus.
pub(crate) fn start_bus(lab: &Lab) -> Bus {
    let address = format!("unix:path={}", lab.file("bus").display());
    let config = lab.file("bus.conf");
    let text = format!(
        "<busconfig><listen>{address}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
         <allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/><allow user=\"*\"/></policy></busconfig>"
    );
    fs::write(&config, text).expect("write the configuration");
    let mut command = lab.client.command("dbus-daemon");
    command.args(["--nofork", "--print-address=1"]);
    command.arg(format!("--config-file={}", config.display()));
    let daemon = Process::start("dbus-daemon", command);
    daemon.wait_line("unix:path=");
    Bus { address, _daemon: daemon }
}

/// Starts the service on a bus.
pub(crate) fn start(lab: &Lab, bus: &Bus) -> Process {
    let mut command = lab.client.command(need::python().expect("the test asked for Python"));
    command.args(["-c", SCRIPT]).env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address);
    let resolved = Process::start("resolved", command);
    resolved.wait_line("on the bus");
    resolved
}
