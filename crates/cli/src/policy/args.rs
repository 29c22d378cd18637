//! The options that make a policy.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use pseudotcp_policy::{Ipv6, Quic};

/// What becomes of which flow.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PolicyArgs {
    /// Judge flows by the rules in this file (TOML; see docs/policy.md). SIGHUP has it read again.
    #[arg(long = "policy", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Send flows to this network past the proxy; may be given several times. Needs --mark, so that
    /// they do not come back into the TUN.
    #[arg(long, value_name = "CIDR")]
    pub(crate) direct: Vec<IpNet>,

    /// Answer flows to private, link-local and multicast addresses with "host unreachable" (DNS
    /// excepted), instead of asking the proxy.
    #[arg(long)]
    pub(crate) reject_private: bool,

    /// Let apps use DNS over TLS (port 853). Otherwise it is answered with "port unreachable" while
    /// their plain DNS is answered here, so that they fall back to it, unless a rule of the file says
    /// more.
    #[arg(long)]
    pub(crate) allow_dns_over_tls: bool,

    /// QUIC through the proxy: allow it, block it with "port unreachable", so that browsers fall back
    /// to TCP, or block it while the way to the proxy is TCP (auto) [default: allow]
    #[arg(long, value_name = "WHAT", hide_possible_values = true)]
    pub(crate) quic: Option<QuicArg>,

    /// IPv6 through the proxy: on, off (answered with "unreachable" at once, so that apps fall back
    /// to IPv4), or off while the proxy is known to have none (auto) [default: auto]
    #[arg(long, value_name = "WHAT", hide_possible_values = true)]
    pub(crate) ipv6: Option<Ipv6Arg>,
}

/// What becomes of QUIC.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum QuicArg {
    Allow,
    Block,
    Auto,
}

/// What becomes of IPv6.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Ipv6Arg {
    Auto,
    On,
    Off,
}

impl From<QuicArg> for Quic {
    fn from(arg: QuicArg) -> Self {
        match arg {
            QuicArg::Allow => Self::Allow,
            QuicArg::Block => Self::Block,
            QuicArg::Auto => Self::Auto,
        }
    }
}

impl From<Ipv6Arg> for Ipv6 {
    fn from(arg: Ipv6Arg) -> Self {
        match arg {
            Ipv6Arg::Auto => Self::Auto,
            Ipv6Arg::On => Self::On,
            Ipv6Arg::Off => Self::Off,
        }
    }
}
