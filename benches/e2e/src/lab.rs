//! Three network namespaces in a row, which vanish with the bench.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rcgen::{CertifiedKey, generate_simple_self_signed};

/// The proxy, as the client sees it; the addresses are those of documentation (RFC 5737), which no
/// proxy takes for private ones.
pub(crate) const PROXY: &str = "192.0.2.1";
/// The server, which the client reaches only as a subject provides.
pub(crate) const SERVER: &str = "198.51.100.2";
/// The network of the server.
pub(crate) const NETWORK: &str = "198.51.100.0/24";
/// The interface of the client that leads to the proxy.
pub(crate) const OUTSIDE: &str = "outside";

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
        cable((&client, OUTSIDE, "192.0.2.2/24"), (&proxy, "client", "192.0.2.1/24"))?;
        cable((&proxy, "server", "198.51.100.1/24"), (&server, "proxy", "198.51.100.2/24"))?;
        // The direct path, which every device's own route comes before.
        client.ip(&format!("route add {NETWORK} via {PROXY} metric 1000"))?;
        server.ip("route add default via 198.51.100.1")?;
        let forwarding = proxy.command("sysctl").args(["-qw", "net.ipv4.ip_forward=1"]).status()?;
        ensure!(forwarding.success(), "the proxy's namespace must forward for the direct path");
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([PROXY.to_owned()])?;
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        fs::write(&certificate, cert.pem())?;
        fs::write(&key, signing_key.serialize_pem())?;
        let folder = folder.to_owned();
        Ok(Self { client, proxy, server, certificate, key, folder })
    }
}

/// A network namespace of our own.
pub(crate) struct Namespace(String);

impl Namespace {
    fn new(role: &str) -> Result<Self> {
        let namespace = Self(format!("ptcp-bench-{}-{role}", std::process::id()));
        ip(&format!("netns add {}", namespace.0))?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Runs `ip` on this namespace.
    pub(crate) fn ip(&self, arguments: &str) -> Result<()> {
        ip(&format!("-n {} {arguments}", self.0))
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

fn cable(a: (&Namespace, &str, &str), b: (&Namespace, &str, &str)) -> Result<()> {
    ip(&format!("link add {} netns {} type veth peer name {} netns {}", a.1, a.0.0, b.1, b.0.0))?;
    for (namespace, end, address) in [a, b] {
        namespace.ip(&format!("address add {address} dev {end}"))?;
        namespace.ip(&format!("link set {end} up"))?;
    }
    Ok(())
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip").args(arguments.split_whitespace()).output();
    let output = output.context("cannot run ip")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {arguments}: {}", complaint.trim());
    Ok(())
}
