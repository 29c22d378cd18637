//! Three network namespaces in a row, which vanish with the bench.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::process::Process;
use crate::wire::Distance;

/// The proxy, as the client sees it; the addresses are those of documentation (RFC 5737), which no
/// proxy takes for private ones.
pub(crate) const PROXY: &str = "192.0.2.1";
/// The server, which the client reaches only as a subject provides.
pub(crate) const SERVER: &str = "198.51.100.2";
/// The network of the server.
pub(crate) const NETWORK: &str = "198.51.100.0/24";
/// The interface of the client that leads to the proxy.
pub(crate) const OUTSIDE: &str = "outside";

/// How the kernel is in each namespace, whatever this machine is like: it has ports for all connections.
/// Where half of them are used up, by connections that have ended too, it seeks long for each.
const KERNEL: [&str; 2] =
    ["net.ipv4.ip_local_port_range=1024 65535", "net.ipv4.tcp_max_tw_buckets=1024"];
/// Congestion control is as usual, or what comes next to it: some machines keep `cubic` to themselves.
const CONGESTION_CONTROLS: [&str; 2] = ["cubic", "reno"];

/// The network, and a folder for files.
pub(crate) struct Lab {
    pub(crate) client: Namespace,
    pub(crate) proxy: Namespace,
    pub(crate) server: Namespace,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) folder: PathBuf,
}

impl Lab {
    /// Builds the network; `folder` is for the files of this run.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let client = Namespace::new("client")?;
        let proxy = Namespace::new("proxy")?;
        let server = Namespace::new("server")?;
        cable((&proxy, "server", "198.51.100.1/24"), (&server, "proxy", "198.51.100.2/24"))?;
        server.ip("route add default via 198.51.100.1")?;
        // For the direct path.
        proxy.sysctl("net.ipv4.ip_forward=1")?;
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([PROXY.to_owned()])?;
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        fs::write(&certificate, cert.pem())?;
        fs::write(&key, signing_key.serialize_pem())?;
        let folder = folder.to_owned();
        Ok(Self { client, proxy, server, certificate, key, folder })
    }

    /// Joins the client to the proxy, by a cable or by a long way, for as long as the result lives.
    pub(crate) fn connect(&self, bench: &Path, distance: Option<Distance>) -> Result<Way<'_>> {
        let (near, far) =
            ((&self.client, OUTSIDE, "192.0.2.2/24"), (&self.proxy, "client", "192.0.2.1/24"));
        let wire = match distance {
            None => cable(near, far).map(|()| None)?,
            Some(distance) => Some(wire(bench, near, far, &distance.arguments())?),
        };
        // The direct path, which every device's own route comes before.
        self.client.ip(&format!("route add {NETWORK} via {PROXY} metric 1000"))?;
        Ok(Way { lab: self, wire })
    }

    /// Two devices with a program between them that does nothing but carry packets past the proxy.
    pub(crate) fn bare_wire(&self, bench: &Path, device: &str, offload: bool) -> Result<Process> {
        let (near, far) =
            ((&self.client, device, "10.99.99.10/24"), (&self.server, "bare", "10.99.99.1/24"));
        let options = if offload { vec!["--offload".to_owned()] } else { Vec::new() };
        wire(bench, near, far, &options)
    }
}

/// The way between client and proxy.
pub(crate) struct Way<'a> {
    lab: &'a Lab,
    /// Ends with its devices.
    wire: Option<Process>,
}

impl Drop for Way<'_> {
    fn drop(&mut self) {
        if self.wire.is_none() {
            let _ = self.lab.client.ip(&format!("link delete {OUTSIDE}"));
        }
    }
}

/// A network namespace of our own.
pub(crate) struct Namespace(String);

impl Namespace {
    fn new(role: &str) -> Result<Self> {
        let namespace = Self(format!("ptcp-bench-{}-{role}", std::process::id()));
        ip(&format!("netns add {}", namespace.0))?;
        namespace.ip("link set lo up")?;
        for setting in KERNEL {
            namespace.sysctl(setting)?;
        }
        let allowed = |name| namespace.sysctl(&format!("net.ipv4.tcp_congestion_control={name}"));
        ensure!(
            CONGESTION_CONTROLS.into_iter().any(|name| allowed(name).is_ok()),
            "neither congestion control is allowed: {CONGESTION_CONTROLS:?}"
        );
        Ok(namespace)
    }

    /// Runs `ip` on this namespace.
    pub(crate) fn ip(&self, arguments: &str) -> Result<()> {
        ip(&format!("-n {} {arguments}", self.0))
    }

    fn sysctl(&self, setting: &str) -> Result<()> {
        let output = self.command("sysctl").args(["-qw", setting]).output()?;
        let why = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "sysctl {setting} failed: {why}");
        Ok(())
    }

    /// A program that will run in this namespace, with the process id of its `Child`.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

/// Where a link ends: namespace, name and address.
type End<'a> = (&'a Namespace, &'a str, &'a str);

fn cable(a: End<'_>, b: End<'_>) -> Result<()> {
    ip(&format!("link add {} netns {} type veth peer name {} netns {}", a.1, a.0.0, b.1, b.0.0))?;
    bring_up(a)?;
    bring_up(b)
}

/// Joins two namespaces by a program, which makes both devices where it runs.
fn wire(bench: &Path, a: End<'_>, b: End<'_>, options: &[String]) -> Result<Process> {
    let mut command = a.0.command(bench);
    command.args(["wire", a.1, b.1]).args(options);
    let process = Process::start("the wire", command)?;
    process.wait_line("ready")?;
    a.0.ip(&format!("link set {} netns {}", b.1, b.0.0))?;
    for end in [a, b] {
        // What is lost shall be lost on the way, and not before it.
        end.0.ip(&format!("link set {} txqueuelen 10000", end.1))?;
        bring_up(end)?;
    }
    Ok(process)
}

fn bring_up((namespace, end, address): End<'_>) -> Result<()> {
    namespace.ip(&format!("address add {address} dev {end}"))?;
    namespace.ip(&format!("link set {end} up"))
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip").args(arguments.split_whitespace()).output();
    let output = output.context("cannot run ip")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {arguments}: {}", complaint.trim());
    Ok(())
}
