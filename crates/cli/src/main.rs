//! The `pseudotcp` program.
#![forbid(unsafe_code)]

mod args;
mod clock;
mod commands;
mod congestion;
mod failure;
mod logging;
mod output;
mod policy;
mod secret;
mod setup;
mod signals;
mod workers;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(args) => commands::demo::run(&args),
        Command::Up(args) => commands::up::run(args),
        Command::Down(logging) => commands::down::run(&logging),
        Command::Policy(args) => commands::policy::run(&args),
        Command::Proxy(args) => commands::proxy::run(&args),
    };
    outcome.unwrap_or_else(|error| failure::report(&error))
}
