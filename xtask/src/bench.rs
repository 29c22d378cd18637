//! The benches.

use anyhow::{Context, Result};
use clap::Args;

use crate::shell;

/// How thoroughly to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Fewer samples: seconds instead of minutes, and less certain.
    #[arg(long)]
    quick: bool,
    /// Run only benches whose names contain this.
    filter: Option<String>,
}

/// Runs the criterion benches of the workspace. How fast the whole is, `pseudotcp demo` shows.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut cargo = shell::cargo();
    cargo.args(["bench", "--workspace", "--locked"]);
    for name in targets()? {
        cargo.args(["--bench", &name]);
    }
    cargo.arg("--");
    if options.quick {
        cargo.arg("--quick");
    }
    shell::run(cargo.args(&options.filter))
}

/// The names of all bench targets; without them cargo would also time the unit tests.
fn targets() -> Result<Vec<String>> {
    let packages = shell::metadata()?["packages"].as_array().context("no packages")?;
    let ours = packages.iter().filter(|package| package["source"].is_null());
    let targets = ours.filter_map(|package| package["targets"].as_array()).flatten();
    let benches = targets.filter(|target| target["kind"][0] == "bench");
    Ok(benches.filter_map(|target| target["name"].as_str().map(str::to_owned)).collect())
}
