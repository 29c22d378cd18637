//! The options of `pseudotcp proxy`.
#![expect(clippy::doc_markdown, reason = "doc comments here are the help, which is no Markdown")]
#![allow(rustdoc::broken_intra_doc_links, reason = "brackets in the help are those of addresses")]

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use pseudotcp_proxy::Rule;

use crate::congestion::CongestionControl;
use crate::logging::Logging;
use crate::secret::Secret;

/// The options of `pseudotcp proxy`.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("identity").args(["cert", "self_signed"]).required(true).multiple(false)),
    after_help = AFTER_HELP
)]
pub(crate) struct ProxyArgs {
    /// Listen at this address; port 0 takes a free one.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: SocketAddr,

    /// Show the certificate chain in this PEM file, the end entity first.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,

    /// The private key of the certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,

    /// Make a fresh key and certificate for the address listened at; see --print-pin.
    #[arg(long)]
    pub(crate) self_signed: bool,

    /// Print the certificate in PEM on standard output, for `pseudotcp up --pin`.
    #[arg(long)]
    pub(crate) print_pin: bool,

    #[command(flatten)]
    pub(crate) credentials: CredentialArgs,

    /// Allow these targets, even denied ones, and private ones if the network is named; may be given
    /// several times: 10.9.0.0/16, 10.9.0.0/16:443, [fd00::]/8:8000-8999, *:25. Private, link-local
    /// and loopback targets are denied unless the proxy listens on loopback only.
    #[arg(long, value_name = "RULE")]
    pub(crate) allow: Vec<Rule>,

    /// Deny these targets; may be given several times.
    #[arg(long, value_name = "RULE")]
    pub(crate) deny: Vec<Rule>,

    /// Send to clients by this congestion control algorithm of the kernel's, such as bbr, which keeps
    /// its speed where some packets are lost. The kernel's default otherwise; `pseudotcp up` has the
    /// same option for the way here.
    #[arg(long, value_name = "NAME")]
    pub(crate) congestion_control: Option<CongestionControl>,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    /// Serve the counters for Prometheus at http://IP:PORT/metrics, to everybody who reaches it.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) metrics: Option<SocketAddr>,

    /// Log a line for each request when it is over.
    #[arg(long)]
    pub(crate) access_log: bool,

    #[command(flatten)]
    pub(crate) logging: Logging,
}

/// What clients must show.
#[derive(Debug, Args)]
pub(crate) struct CredentialArgs {
    /// Accept this user and password; may be given several times. --basic-file or
    /// PSEUDOTCP_PROXY_BASIC in the environment are better: arguments are visible to other users of
    /// the machine.
    #[arg(long, value_name = "USER:PASSWORD")]
    pub(crate) basic: Vec<Secret>,

    /// Accept the users and passwords in this file, one USER:PASSWORD a line ("-": standard input).
    #[arg(long, value_name = "FILE")]
    pub(crate) basic_file: Option<PathBuf>,

    /// Accept this bearer token; --token-file or PSEUDOTCP_PROXY_TOKEN in the environment is better.
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Vec<Secret>,

    /// Accept the bearer tokens in this file, one a line ("-": standard input).
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// How much of everything there may be.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// The most client connections at once; more are closed.
    #[arg(long, value_name = "N", default_value_t = 1_024)]
    pub(crate) max_connections: usize,

    /// The most tunnels at once; more are answered 503.
    #[arg(long, value_name = "N", default_value_t = 16_384)]
    pub(crate) max_tunnels: usize,

    /// The most tunnels at once of one client (an IPv4 address, a /64 of IPv6); more are answered
    /// 429. As many as all by default.
    #[arg(long, value_name = "N")]
    pub(crate) max_tunnels_per_client: Option<usize>,

    /// How long a name or a target may take to answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub(crate) connect_timeout: u64,

    /// Reset a TCP tunnel in which nothing has moved for so long.
    #[arg(long, value_name = "SECONDS", default_value_t = 7_440)]
    pub(crate) tcp_idle: u64,

    /// End a UDP tunnel in which nothing has moved for so long.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(crate) udp_idle: u64,

    /// How long open tunnels may go on after SIGTERM.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) drain: u64,
}

const AFTER_HELP: &str = "\
Without any user or token the proxy serves everybody who reaches it.

Signals: SIGUSR1 shows the counters; SIGHUP reads certificate, key, users and tokens again; SIGINT
and SIGTERM take no more clients, let open tunnels go on for a while (--drain) and end the program;
a second one ends it at once.

Exit codes: 0 ended as asked, 1 failed, 2 wrong usage.";
