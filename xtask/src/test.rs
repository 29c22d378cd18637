//! All tests, with what they need set up first, and the reason of every skip printed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::{setup, shell};

/// Which tests may be skipped.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// A test that cannot run here is a failure, not a skip (as it always is where `CI=true`).
    #[arg(long)]
    require_all: bool,
    /// Run only tests whose names contain this.
    filter: Option<String>,
}

/// Runs all tests: units and scenarios, then, after the list of skips, the examples in the docs.
pub(crate) fn run(options: &Options) -> Result<()> {
    let setup = setup::prepare()?;
    let strict = options.require_all || is_ci();
    for missing in &setup.missing {
        eprintln!("setup: {missing}");
    }
    if strict && !setup.missing.is_empty() {
        bail!("the tests need all of their tools here");
    }
    let skips = shell::target_dir()?.join("skipped-tests");
    fs::write(&skips, "")?;
    let tests = cargo_test(&["--lib", "--bins", "--tests"], options, &setup, &skips, strict);
    print_skips(&skips)?;
    let examples = cargo_test(&["--doc"], options, &setup, &skips, strict);
    tests.and(examples)
}

fn cargo_test(
    kinds: &[&str],
    options: &Options,
    setup: &setup::Setup,
    skips: &Path,
    strict: bool,
) -> Result<()> {
    let mut cargo = shell::cargo();
    cargo.args(["test", "--workspace", "--locked", "--no-fail-fast"]).args(kinds);
    cargo.args(&options.filter);
    tell(&mut cargo, setup, skips, strict);
    shell::run(&mut cargo)
}

/// Tells the tests where things are, where skips are listed, and whether they may skip.
fn tell(cargo: &mut Command, setup: &setup::Setup, skips: &Path, strict: bool) {
    cargo.env("PSEUDOTCP_PYTHON", &setup.python).env("PSEUDOTCP_ENVOY", &setup.envoy);
    cargo.env("PSEUDOTCP_SKIPS", skips);
    if strict {
        cargo.env("PSEUDOTCP_REQUIRE_ALL", "1");
    }
}

fn print_skips(list: &Path) -> Result<()> {
    let text = fs::read_to_string(list)?;
    let skips: BTreeSet<&str> = text.lines().collect();
    println!("skipped: {}", skips.len());
    for skip in skips {
        println!("  {skip}");
    }
    Ok(())
}

fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}
