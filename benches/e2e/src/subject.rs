//! The ways that are compared.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::lab::{Lab, NETWORK, PROXY};
use crate::process::Process;
use crate::workload::Workload;

/// The device of every subject that has one.
const DEVICE: &str = "bench0";
const PORT: u16 = 8_443;

/// How many tunnels our proxy takes: more than any workload opens.
const TUNNELS: &str = "20000";

/// For `up` and its proxy: what keeps its speed where packets are lost.
const BBR: &[&str] = &["--congestion-control", "bbr"];

/// For `up`: sleep at once, whatever time it takes to wake.
const ASLEEP: &[&str] = &["--busy-poll", "0"];

/// For `up`: one thread, however many cores there are.
const ONE_SHARD: &[&str] = &["--shards", "1"];

/// The programs of a run.
pub(crate) struct Programs {
    /// `pseudotcp`.
    pub(crate) pseudotcp: PathBuf,
    /// Envoy, where it is installed.
    pub(crate) envoy: Option<PathBuf>,
    /// This program.
    pub(crate) bench: PathBuf,
}

/// A way from the client's namespace to the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The network alone.
    Direct,
    /// An HTTP/2 CONNECT client in the load itself, without TUN: the ceiling.
    Plain(Proxy),
    /// `pseudotcp up`, with these options.
    Ours(Proxy, &'static str, &'static [&'static str]),
    /// The same through two and three proxies of ours in a row.
    TwoHops,
    ThreeHops,
    /// Two devices and a program that only carries packets: what a TUN costs by itself.
    Bare {
        offload: bool,
    },
    /// Our stack with plain sockets behind it.
    StackDirect,
    /// Our stack with a target in its own memory behind it.
    StackMemory,
    /// Another program of the kind.
    Peer(Peer),
}

/// The proxy between the namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    Ours,
    Envoy,
}

/// Another program: its name, the command of its proxy, and the command of its client, which makes a
/// device named `bench0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    name: String,
    proxy: String,
    client: String,
}

impl std::str::FromStr for Peer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, ';').map(|part| part.trim().to_owned());
        match (parts.next(), parts.next(), parts.next()) {
            (Some(name), Some(proxy), Some(client)) => Ok(Self { name, proxy, client }),
            _ => Err("must read 'NAME; PROXY COMMAND; CLIENT COMMAND'"),
        }
    }
}

/// A way that is open.
pub(crate) struct Running {
    /// What the load must be told.
    pub(crate) arguments: Vec<String>,
    /// The program whose costs count.
    client: Option<Process>,
    /// How long that program took to be ready.
    pub(crate) started_in: Duration,
    /// In the order of the hops.
    proxies: Vec<Process>,
}

impl Running {
    /// The process whose costs count.
    pub(crate) fn client(&self) -> Result<u32> {
        Ok(self.client.as_ref().context("this way has no program")?.id())
    }

    /// The proxy's process.
    pub(crate) fn proxy(&self) -> Result<u32> {
        Ok(self.proxies.first().context("this way has no proxy")?.id())
    }
}

impl Subject {
    /// All that can run here.
    pub(crate) fn all(programs: &Programs, peers: &[Peer]) -> Vec<Self> {
        let mut subjects = vec![
            Self::Direct,
            Self::Plain(Proxy::Ours),
            Self::Ours(Proxy::Ours, "ours", &[]),
            Self::Ours(Proxy::Ours, "ours, no busy poll", ASLEEP),
            Self::Ours(Proxy::Ours, "ours, 1 shard", ONE_SHARD),
            Self::Ours(Proxy::Ours, "ours, no offload", &["--no-offload"]),
            Self::Ours(Proxy::Ours, "ours, MTU 9000", &["--no-offload", "--mtu", "9000"]),
            Self::TwoHops,
            Self::ThreeHops,
            Self::Bare { offload: true },
            Self::Bare { offload: false },
            Self::StackDirect,
            Self::StackMemory,
        ];
        if has_bbr() {
            subjects.push(Self::Ours(Proxy::Ours, "ours, BBR", BBR));
        }
        if programs.envoy.is_some() {
            subjects.push(Self::Plain(Proxy::Envoy));
            subjects.push(Self::Ours(Proxy::Envoy, "ours, Envoy", &[]));
        }
        subjects.extend(peers.iter().cloned().map(Self::Peer));
        subjects
    }

    /// Whether this shows its worth only where the proxy is far away.
    pub(crate) fn is_for_far_proxies(&self) -> bool {
        matches!(self, Self::Ours(_, _, BBR))
    }

    /// Whether this shows its worth only where each message waits for the one before.
    pub(crate) fn is_for_round_trips(&self) -> bool {
        matches!(self, Self::Ours(_, _, ASLEEP))
    }

    /// Whether this shows its worth only where there are several flows at once.
    pub(crate) fn is_for_several_flows(&self) -> bool {
        matches!(self, Self::Ours(_, _, ONE_SHARD))
    }

    /// How the report calls it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Direct => "direct path",
            Self::Plain(Proxy::Ours) => "plain h2",
            Self::Plain(Proxy::Envoy) => "plain h2, Envoy",
            Self::Ours(_, name, _) => name,
            Self::TwoHops => "ours, 2 hops",
            Self::ThreeHops => "ours, 3 hops",
            Self::Bare { offload: true } => "bare TUN",
            Self::Bare { offload: false } => "bare TUN, no offload",
            Self::StackDirect => "stack, sockets",
            Self::StackMemory => "stack, memory",
            Self::Peer(peer) => &peer.name,
        }
    }

    /// Opens the way.
    pub(crate) fn start(
        &self,
        lab: &Lab,
        programs: &Programs,
        workload: &Workload,
    ) -> Result<Running> {
        let proxies = self.proxies(lab, programs)?;
        let begun = now();
        let client = self.client(lab, programs, workload)?;
        let started_in = begun.elapsed();
        if !matches!(self, Self::Direct | Self::Plain(_)) && self.hops() == 0 {
            lab.client.ip(&format!("route add {NETWORK} dev {DEVICE}"))?;
        }
        let arguments = match self {
            Self::Plain(_) => vec!["--proxy".into(), url(0), "--pin".into(), pin(lab)],
            _ => Vec::new(),
        };
        Ok(Running { arguments, client, started_in, proxies })
    }

    /// Through how many proxies `pseudotcp up` goes.
    fn hops(&self) -> u16 {
        match self {
            Self::Ours(..) => 1,
            Self::TwoHops => 2,
            Self::ThreeHops => 3,
            _ => 0,
        }
    }

    fn proxies(&self, lab: &Lab, programs: &Programs) -> Result<Vec<Process>> {
        match self {
            Self::Direct | Self::Bare { .. } | Self::StackDirect | Self::StackMemory => {
                Ok(Vec::new())
            }
            Self::Plain(Proxy::Envoy) | Self::Ours(Proxy::Envoy, ..) => {
                Ok(vec![envoy(lab, programs)?])
            }
            Self::Plain(Proxy::Ours) => Ok(vec![ours(lab, programs, 0, &[])?]),
            Self::Ours(Proxy::Ours, _, BBR) => Ok(vec![ours(lab, programs, 0, BBR)?]),
            Self::Ours(Proxy::Ours, ..) | Self::TwoHops | Self::ThreeHops => {
                (0..self.hops()).map(|hop| ours(lab, programs, hop, &[])).collect()
            }
            Self::Peer(peer) => {
                Ok(vec![Process::start("the peer's proxy", shell(&lab.proxy, &peer.proxy))?])
            }
        }
    }

    fn client(
        &self,
        lab: &Lab,
        programs: &Programs,
        workload: &Workload,
    ) -> Result<Option<Process>> {
        match self {
            Self::Direct | Self::Plain(_) => Ok(None),
            Self::Ours(..) | Self::TwoHops | Self::ThreeHops => {
                let mut command = lab.client.command(&programs.pseudotcp);
                command.args(["up", "--pin", &pin(lab), "--tun", DEVICE, "--route", NETWORK]);
                for hop in 0..self.hops() {
                    command.args(["--proxy", &url(hop)]);
                }
                if let Self::Ours(_, _, options) = self {
                    command.args(*options);
                }
                ready(Process::start("pseudotcp", command)?).map(Some)
            }
            Self::Bare { offload } => lab.bare_wire(&programs.bench, DEVICE, *offload).map(Some),
            Self::StackDirect => stack(lab, programs, "direct").map(Some),
            Self::StackMemory => stack(lab, programs, workload.memory_transport()).map(Some),
            Self::Peer(peer) => {
                let process = Process::start(&peer.name, shell(&lab.client, &peer.client))?;
                wait_device(lab)?;
                Ok(Some(process))
            }
        }
    }
}

/// Whether this kernel knows the way to send that [`BBR`] asks for.
fn has_bbr() -> bool {
    let known = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control");
    known.is_ok_and(|known| known.split_whitespace().any(|name| name == "bbr"))
}

/// Our own proxy, as this hop of the way.
fn ours(lab: &Lab, programs: &Programs, hop: u16, options: &[&str]) -> Result<Process> {
    let mut command = lab.proxy.command(&programs.pseudotcp);
    command.args(["proxy", "--listen", &format!("{PROXY}:{}", PORT + hop)]);
    command.arg("--cert").arg(&lab.certificate).arg("--key").arg(&lab.key);
    command.args(["--max-tunnels", TUNNELS]).args(options);
    let proxy = Process::start("the proxy", command)?;
    proxy.wait_line("listening")?;
    Ok(proxy)
}

fn envoy(lab: &Lab, programs: &Programs) -> Result<Process> {
    let config = include_str!("../../../interop/envoy.yaml")
        .replace("@PORT@", &PORT.to_string())
        .replace("@CERT@", &lab.certificate.display().to_string())
        .replace("@KEY@", &lab.key.display().to_string());
    let file = lab.folder.join("envoy.yaml");
    std::fs::write(&file, config)?;
    let mut command = lab.proxy.command(programs.envoy.as_ref().context("no Envoy")?);
    command.arg("-c").arg(file).args(["--use-dynamic-base-id", "--concurrency", "1"]);
    command.args(["--log-level", "warning", "--component-log-level", "main:info"]);
    let envoy = Process::start("Envoy", command)?;
    envoy.wait_line("starting main dispatch loop")?;
    Ok(envoy)
}

fn stack(lab: &Lab, programs: &Programs, transport: &str) -> Result<Process> {
    let mut command = lab.client.command(&programs.bench);
    command.args(["stack", transport, DEVICE]);
    ready(Process::start("the stack", command)?)
}

fn ready(process: Process) -> Result<Process> {
    process.wait_line("ready")?;
    Ok(process)
}

fn shell(namespace: &crate::lab::Namespace, line: &str) -> Command {
    let mut command = namespace.command("sh");
    command.args(["-c", &format!("exec {line}")]);
    command
}

/// Waits until a peer has made its device, and brings it up.
fn wait_device(lab: &Lab) -> Result<()> {
    let limit = now() + Duration::from_secs(10);
    while lab.client.ip(&format!("link set {DEVICE} up")).is_err() {
        ensure!(now() < limit, "the peer made no device {DEVICE}");
        std::thread::yield_now();
    }
    Ok(())
}

/// The proxy that is this hop of the way.
fn url(hop: u16) -> String {
    format!("https://{PROXY}:{}", PORT + hop)
}

fn pin(lab: &Lab) -> String {
    lab.certificate.display().to_string()
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn now() -> Instant {
    Instant::now()
}
