//! The fuzz targets, each for a while.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::{setup, shell};

/// What to fuzz, and for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// The target; all of them if none is named.
    target: Option<String>,
    /// How long each target runs, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Runs the targets with `cargo fuzz` and the nightly compiler, which the sanitiser needs.
pub(crate) fn run(options: &Options) -> Result<()> {
    let program = setup::cargo_tool("cargo-fuzz")?;
    let targets = match &options.target {
        Some(target) => vec![target.clone()],
        None => targets()?,
    };
    for target in targets {
        let mut fuzz = Command::new(&program);
        fuzz.current_dir(shell::root()).env_remove("CARGO").env("RUSTUP_TOOLCHAIN", "nightly");
        fuzz.args(["run", &target, "--"]);
        shell::run(fuzz.arg(format!("-max_total_time={}", options.seconds)))?;
    }
    Ok(())
}

/// The names of the files in `fuzz/fuzz_targets`.
fn targets() -> Result<Vec<String>> {
    let folder = shell::root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).context("there are no fuzz targets")?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let names = paths.iter().filter_map(|path| path.file_stem()?.to_str());
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    names.sort();
    Ok(names)
}
