//! The end-to-end bench: ordinary sockets in one network namespace, ordinary servers in another, and
//! between them the way that is measured.
//!
//! ```text
//!  client namespace                proxy namespace        server namespace
//!  load ──▶ TUN ──▶ pseudotcp ───▶ a MASQUE proxy ──────▶ serve      (and the same without TUN,
//!                                                                     without proxy, or a peer's)
//! ```
//!
//! `cargo xtask bench` builds and runs it. All subjects take turns within each round, because machines
//! are noisy: compare figures of one run, never of two.
#![forbid(unsafe_code)]

mod chart;
mod crowd;
mod history;
mod lab;
mod load;
mod measure;
mod process;
mod report;
mod serve;
mod stack;
mod subject;
mod usage;
mod wire;
mod workload;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures pseudotcp end to end.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Measure: build the network, run everything in turn, report.
    Measure(measure::Options),
    /// Be the server that the load goes to.
    #[command(hide = true)]
    Serve,
    /// Make load, and print what was measured as JSON.
    #[command(hide = true)]
    Load(load::Options),
    /// Be the stack alone, with a transport of its own machine.
    #[command(hide = true)]
    Stack(stack::Options),
    /// Carry packets between two devices, and no more.
    #[command(hide = true)]
    Wire(wire::Options),
}

fn main() -> Result<()> {
    match Arguments::parse().role {
        Role::Measure(options) => measure::run(&options),
        Role::Serve => serve::run(),
        Role::Load(options) => load::run(&options),
        Role::Stack(options) => stack::run(&options),
        Role::Wire(options) => wire::run(&options),
    }
}
