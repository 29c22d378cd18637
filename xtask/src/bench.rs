//! The benches: end to end in namespaces, or the small ones of criterion.

use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;

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
    build.args(["build", "--locked"]);
    let profile = if options.quick {
        // As the tests have it, so that what was built for them need not be built again.
        build.args(["--workspace", "--bins", "--tests"]);
        "debug"
    } else {
        build.args(["--release", "-p", "pseudotcp-cli", "-p", "pseudotcp-bench-e2e"]);
        "release"
    };
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
    shell::run(cargo.args(&options.arguments))?;
    instructions()
}

/// How many instructions a packet takes in steady state, counted by callgrind where it is installed:
/// a number that does not depend on how busy the machine is.
fn instructions() -> Result<()> {
    let Some(valgrind) = shell::find("valgrind") else {
        println!("instructions are not counted: no valgrind");
        return Ok(());
    };
    let mut build = shell::cargo();
    build.args(["bench", "-p", "pseudotcp-benches", "--bench", "steady", "--locked", "--no-run"]);
    let built = shell::output(build.arg("--message-format=json"))?;
    let built = built.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = built.filter_map(|news| news["executable"].as_str().map(str::to_owned));
    let program = programs.next().context("cargo built no bench")?;
    for direction in ["up", "down"] {
        let mut command = Command::new(&valgrind);
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--log-fd=1"]);
        command.args(["--collect-atstart=no", "--toggle-collect=steady::turn"]);
        let counted = shell::output(command.arg(&program).arg(direction))?;
        let collected = number_after(&counted, "Collected :").context("callgrind said nothing")?;
        let packets = number_after(&counted, "allocations for").context("no packets")?;
        println!("{direction}: {} instructions a packet", collected / packets);
    }
    Ok(())
}

/// The number behind the first occurrence of `label`.
fn number_after(text: &str, label: &str) -> Option<u64> {
    let (_, rest) = text.split_once(label)?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The names of all bench targets; without them cargo would also time the unit tests.
fn targets() -> Result<Vec<String>> {
    let packages = shell::metadata()?["packages"].as_array().context("no packages")?;
    let ours = packages.iter().filter(|package| package["source"].is_null());
    let targets = ours.filter_map(|package| package["targets"].as_array()).flatten();
    let benches = targets.filter(|target| target["kind"][0] == "bench");
    Ok(benches.filter_map(|target| target["name"].as_str().map(str::to_owned)).collect())
}
