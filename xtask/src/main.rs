//! The workspace's own tasks: `cargo xtask ci, test, fuzz, bench, deps, tidy, rfc`.
//!
//! ```text
//!   ci ──▶ fmt  clippy  rustdoc  deny ──▶ deps ──▶ tidy ──▶ rfc ──▶ test ──▶ setup
//! ```
//!
//! Every task is one small module and runs ordinary cargo commands; none needs anything that it
//! cannot install by itself.
#![forbid(unsafe_code)]

mod bench;
mod ci;
mod deps;
mod fuzz;
mod rfc;
mod setup;
mod shell;
mod sources;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The workspace's own tasks.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run what the CI runs: all steps, or those named.
    Ci(ci::Options),
    /// Run all tests; sets up what they need.
    Test(test::Options),
    /// Run the fuzz targets, each for a while.
    Fuzz(fuzz::Options),
    /// Run the benches.
    Bench(bench::Options),
    /// Check the dependency graph against the design.
    Deps,
    /// Check sizes, banned words and constructs, and what every crate must have.
    Tidy,
    /// Print which sections of which RFC are cited, tested and deviated from, and what is not tested.
    Rfc(rfc::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Ci(options) => ci::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Deps => deps::run(),
        Task::Tidy => tidy::run(),
        Task::Rfc(options) => rfc::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
