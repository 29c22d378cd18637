//! The options of `pseudotcp up`.
#![expect(clippy::doc_markdown, reason = "doc comments here are the help, which is no Markdown")]

use std::os::fd::RawFd;
use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum, value_parser};
use ipnet::IpNet;
use pseudotcp_pipeline::stack::Ping;

use super::dns::DnsArgs;
use super::proxy_args::{CredentialArgs, ProxyArgs, TrustArgs};
use super::udp::UdpArgs;
use crate::congestion::CongestionControl;
use crate::logging::Logging;
use crate::policy::PolicyArgs;

/// The options of `pseudotcp up`.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("credentials_given").args(["token", "basic", "token_file"])),
    group(ArgGroup::new("trust_given").args(["pin", "pin_key", "ca", "insecure"])),
    after_help = AFTER_HELP
)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) proxy: ProxyArgs,

    #[command(flatten)]
    pub(crate) credentials: CredentialArgs,

    #[command(flatten)]
    pub(crate) trust: TrustArgs,

    #[command(flatten)]
    pub(crate) device: DeviceArgs,

    /// Send this network through the proxy; may be given several times. 0.0.0.0/0 and ::/0 stand for
    /// everything. The way to the proxy itself is kept.
    #[arg(long = "route", value_name = "CIDR", conflicts_with = "tun_fd")]
    pub(crate) routes: Vec<IpNet>,

    #[command(flatten)]
    pub(crate) policy: PolicyArgs,

    /// Mark the program's own sockets with this number (SO_MARK), and route by it instead of by the
    /// proxy's address: marked packets never enter the TUN. Also the number of the routing table
    /// that is used; from 256 up.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(256..))]
    pub(crate) mark: Option<u32>,

    /// Send to the proxy by this congestion control algorithm of the kernel's, such as bbr, which
    /// keeps its speed where some packets are lost. The kernel's default otherwise; the proxy has
    /// the same option for the way back.
    #[arg(long, value_name = "NAME")]
    pub(crate) congestion_control: Option<CongestionControl>,

    /// Look for more before sleeping, for so many microseconds at most, while an app and its target
    /// answer each other faster than that. Answers come as much sooner as a sleeping program takes to
    /// wake, which is 50 and more in virtual machines; 200 covers the round trip to a near proxy. 0
    /// sleeps at once.
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 200,
        value_parser = value_parser!(u16).range(..=10_000))]
    pub(crate) busy_poll: u16,

    /// What apps hear that ping somebody. A proxy cannot carry a ping.
    #[arg(long, value_name = "MODE", value_enum, default_value_t)]
    pub(crate) icmp: PingMode,

    #[command(flatten)]
    pub(crate) udp: UdpArgs,

    #[command(flatten)]
    pub(crate) dns: DnsArgs,

    /// Capture all packets of the TUN in this file (pcapng, for Wireshark).
    #[arg(long, value_name = "FILE")]
    pub(crate) pcap: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) logging: Logging,
}

/// What apps hear that ping somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PingMode {
    /// Nothing.
    Off,
    /// A reply, whether or not there is such a host.
    Reply,
    /// That it is prohibited.
    Unreachable,
    /// A reply if the host answers a TCP connection through the proxy, by yes or by no.
    #[default]
    ReplyIfReachable,
}

/// The device that packets come from.
#[derive(Debug, Args)]
pub(crate) struct DeviceArgs {
    /// The name of the TUN interface [default: the first free of tun0, tun1, …]
    #[arg(long = "tun", value_name = "NAME", conflicts_with = "tun_fd")]
    pub(crate) name: Option<String>,

    /// An address of the TUN interface with its prefix; may be given several times
    /// [default: 10.99.99.10/24 and, where the system has IPv6, fd99:99::10/64]
    #[arg(long = "address", value_name = "CIDR", conflicts_with = "tun_fd")]
    pub(crate) addresses: Vec<IpNet>,

    /// The MTU of the TUN interface in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 1_500,
        value_parser = value_parser!(u16).range(1_280..))]
    pub(crate) mtu: u16,

    /// Take over an open TUN descriptor with this number instead of creating an interface.
    /// Its addresses, MTU and routes are not touched.
    #[arg(long, value_name = "N", value_parser = value_parser!(i32).range(3..))]
    pub(crate) tun_fd: Option<RawFd>,

    /// Use up to so many threads, each with a queue of the interface, a stack, and connections to the
    /// proxy of its own; a flow stays on one. Where there is little to do the first does it alone.
    /// [default: one for each core, 4 at the most; 1 where eBPF may not be used]
    #[arg(long, value_name = "N", conflicts_with = "tun_fd", value_parser = value_parser!(u8).range(1..=16))]
    pub(crate) shards: Option<u8>,

    /// Do without segmentation offload.
    #[arg(long)]
    pub(crate) no_offload: bool,
}

impl From<PingMode> for Ping {
    fn from(mode: PingMode) -> Self {
        match mode {
            PingMode::Off => Self::Off,
            PingMode::Reply => Self::Reply,
            PingMode::Unreachable => Self::Unreachable,
            PingMode::ReplyIfReachable => Self::ReplyIfReachable,
        }
    }
}

const AFTER_HELP: &str = "\
Signals: SIGUSR1 shows the counters; SIGHUP reads the policy again; SIGINT and SIGTERM end the
program, which takes back everything that it has set; a second one ends it at once.

Exit codes: 0 ended as asked, 1 failed, 2 wrong usage.

Needs CAP_NET_ADMIN (root) unless --tun-fd is given.";
