//! The benches.

use anyhow::Result;
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

/// Runs the criterion benches of the workspace.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut cargo = shell::cargo();
    cargo.args(["bench", "--locked", "--package", "pseudotcp-benches"]);
    cargo.args(["--package", "pseudotcp-packet", "--benches", "--"]);
    if options.quick {
        cargo.arg("--quick");
    }
    shell::run(cargo.args(&options.filter))
}
