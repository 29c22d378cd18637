//! The command line.

use clap::{Parser, Subcommand};

use crate::commands::demo;
use crate::commands::policy::Question;
use crate::commands::proxy::ProxyArgs;
use crate::commands::up::UpArgs;
use crate::logging::Logging;

/// Points the packets of unmodified apps at a MASQUE proxy.
#[derive(Debug, Parser)]
#[command(name = "pseudotcp", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows the whole thing at work, in network namespaces of its own: nothing to configure.
    Demo(demo::Args),
    /// Sends what is routed into a TUN interface through a MASQUE proxy.
    Up(Box<UpArgs>),
    /// Takes back what a killed `pseudotcp up` has left in this network namespace: routes that lead
    /// nowhere now, rules, and the list of DNS servers.
    Down(Logging),
    /// Checks a file of rules, or shows which rule decides about a flow.
    #[command(subcommand)]
    Policy(Question),
    /// Serves as a small MASQUE proxy.
    Proxy(Box<ProxyArgs>),
}
