//! The benches: end to end in namespaces, or the small ones of criterion.

use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::{setup, shell};

/// What to measure, and how thoroughly.
#[derive(Args)]
pub(crate) struct Options {
    /// Seconds instead of minutes, and without optimisation: shows that everything runs.
    #[arg(long)]
    quick: bool,
    /// The small benches of criterion instead of the whole in its network namespaces.
    #[arg(long)]
    micro: bool,
    /// For --micro: only benches whose names contain this. Else the options of the end-to-end bench:
    /// --rounds N, --workload PART, --subject PART, --peer 'NAME; PROXY COMMAND; CLIENT COMMAND'.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs the benches.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.micro { micro(options) } else { end_to_end(options) }
}

fn end_to_end(options: &Options) -> Result<()> {
    let setup = setup::prepare()?;
    let mut build = shell::cargo();
    build.args(["build", "--locked", "-p", "pseudotcp-cli", "-p", "pseudotcp-bench-e2e"]);
    let profile = if options.quick { "debug" } else { "release" };
    if !options.quick {
        build.arg("--release");
    }
    shell::run(&mut build)?;
    let target = shell::target_dir()?;
    let programs = target.join(profile);
    let mut bench = Command::new(programs.join("pseudotcp-bench-e2e"));
    bench.arg("measure").arg("--program").arg(programs.join("pseudotcp"));
    bench.arg("--envoy").arg(setup.envoy).arg("--out").arg(target.join("bench"));
    if options.quick {
        bench.arg("--quick");
    }
    shell::run(bench.args(&options.arguments))
}

fn micro(options: &Options) -> Result<()> {
    let mut cargo = shell::cargo();
    cargo.args(["bench", "--workspace", "--locked"]);
    for name in targets()? {
        cargo.args(["--bench", &name]);
    }
    cargo.arg("--");
    if options.quick {
        cargo.arg("--quick");
    }
    shell::run(cargo.args(&options.arguments))
}

/// The names of all bench targets; without them cargo would also time the unit tests.
fn targets() -> Result<Vec<String>> {
    let packages = shell::metadata()?["packages"].as_array().context("no packages")?;
    let ours = packages.iter().filter(|package| package["source"].is_null());
    let targets = ours.filter_map(|package| package["targets"].as_array()).flatten();
    let benches = targets.filter(|target| target["kind"][0] == "bench");
    Ok(benches.filter_map(|target| target["name"].as_str().map(str::to_owned)).collect())
}
