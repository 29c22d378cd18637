//! Network namespaces that vanish with their owner.

use std::fs::{self, File};
use std::net::{Ipv6Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns};

/// All our namespaces are named `ptcp-PID-NUMBER-ROLE`.
const PREFIX: &str = "ptcp";

/// A network namespace of our own.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// A new namespace with its loopback up.
    pub(crate) fn new(role: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        static SWEEP: Once = Once::new();
        SWEEP.call_once(sweep);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}-{}-{number}-{role}", std::process::id());
        ip(&format!("netns add {name}"));
        let namespace = Self { name };
        namespace.ip("link set lo up");
        // No link-local address is tentative for a while: nobody else is there.
        namespace.set("net/ipv6/conf/default/accept_dad", "0");
        // Without a file of its own the namespace would share this machine's.
        namespace.resolve_by("127.0.0.1");
        namespace
    }

    /// Names a DNS server to the programs that will run in this namespace.
    pub(crate) fn resolve_by(&self, server: &str) {
        fs::create_dir_all(self.etc()).expect("make a folder");
        fs::write(self.resolv_conf(), format!("nameserver {server}\n")).expect("name a server");
    }

    /// Gives a name to the programs of this namespace, and to none else. It may mean another address
    /// later; a program that is to hear of any must be started when there is one.
    pub(crate) fn name(&self, name: &str, addresses: &[&str]) {
        let lines = addresses.iter().map(|address| format!("{address} {name}\n"));
        fs::write(self.etc().join("hosts"), lines.collect::<String>()).expect("name a host");
    }

    /// What those programs see as `/etc/resolv.conf`.
    pub(crate) fn resolv_conf(&self) -> PathBuf {
        self.etc().join("resolv.conf")
    }

    /// The files that `ip netns exec` puts over those of `/etc`.
    fn etc(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.name)
    }

    /// A cable between two namespaces, each end with its name and addresses.
    pub(crate) fn link(a: (&Self, &str, &[&str]), b: (&Self, &str, &[&str])) {
        let ((left, left_end, _), (right, right_end, _)) = (a, b);
        ip(&format!(
            "link add {left_end} netns {} type veth peer name {right_end} netns {}",
            left.name, right.name
        ));
        for (namespace, end, addresses) in [a, b] {
            for address in addresses {
                let nodad = if address.contains(':') { "nodad" } else { "" };
                namespace.ip(&format!("address add {address} dev {end} {nodad}"));
            }
            namespace.ip(&format!("link set {end} up"));
        }
    }

    /// Runs `ip` on this namespace; panics if it fails.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        ip(&format!("-n {} {arguments}", self.name))
    }

    /// Sets a kernel parameter, named by its path below `/proc/sys`.
    pub(crate) fn set(&self, parameter: &str, value: &str) {
        let path = format!("/proc/sys/{parameter}");
        let written = self.run(|| fs::write(&path, value));
        written.unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// A program that will run in this namespace, with the process id of its `Child`.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a function on a thread that is in this namespace; a panic in it goes on here.
    pub(crate) fn run<T: Send>(&self, function: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter();
                function()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Listens on both families.
    pub(crate) fn listen_blocking(&self, port: u16) -> TcpListener {
        self.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))).expect("listen")
    }

    /// Listens on both families, for a runtime.
    pub(crate) fn listen(&self, port: u16) -> TcpListener {
        let listener = self.listen_blocking(port);
        listener.set_nonblocking(true).expect("non-blocking");
        listener
    }

    /// A datagram socket of both families, for a runtime.
    pub(crate) fn bind(&self, port: u16) -> UdpSocket {
        let socket = self.run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))).expect("bind");
        socket.set_nonblocking(true).expect("non-blocking");
        socket
    }

    /// Moves the current thread, and the sockets that it will make, into this namespace.
    pub(crate) fn enter(&self) {
        let file = File::open(format!("/run/netns/{}", self.name)).expect("open the namespace");
        setns(file, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        delete(&self.name);
    }
}

fn delete(name: &str) {
    let _ = Command::new("ip").args(["netns", "delete", name]).status();
    let _ = fs::remove_dir_all(Path::new("/etc/netns").join(name));
}

/// Runs `ip`; panics with what it says if it fails.
fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("run ip");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Deletes what a killed run of these tests has left.
fn sweep() {
    let list = ip("netns list");
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    for name in names.filter(|name| is_orphan(name)) {
        delete(name);
    }
}

fn is_orphan(name: &str) -> bool {
    let mut parts = name.split('-');
    let ours = parts.next() == Some(PREFIX);
    let owner = parts.next().and_then(|pid| pid.parse::<u32>().ok());
    ours && owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}
