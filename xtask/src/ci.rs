//! What the CI runs, step by step.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::{deps, rfc, setup, shell, test, tidy};

/// Which steps to run.
#[derive(Args)]
pub(crate) struct Options {
    /// The steps; all of them if none is named.
    #[arg(value_enum)]
    steps: Vec<Step>,
}

/// One step, in the order in which they run.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Step {
    /// Formatting.
    Fmt,
    /// Lints, as errors.
    Clippy,
    /// Documentation, warnings as errors.
    Rustdoc,
    /// Licences, sources and banned dependencies.
    Deny,
    /// The dependency graph of our crates.
    Deps,
    /// Sizes, words, and what every crate must have.
    Tidy,
    /// Every part of RFC 9293 §3.10 that the TCP engine cites is cited by a test.
    Rfc,
    /// All tests; none may be skipped for a missing tool where `CI=true`.
    Test,
}

/// Runs the steps in order, and stops at the first that fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    let all = Step::value_variants();
    for step in if options.steps.is_empty() { all } else { &options.steps } {
        let started = now();
        step.run().with_context(|| format!("step {step:?}"))?;
        eprintln!("{step:?}: {:.1} s", started.elapsed().as_secs_f32());
    }
    Ok(())
}

impl Step {
    fn run(self) -> Result<()> {
        match self {
            Self::Fmt => shell::run(shell::cargo().args(["fmt", "--all", "--check"])),
            Self::Clippy => shell::run(shell::cargo().args([
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--",
                "--deny=warnings",
            ])),
            Self::Rustdoc => rustdoc(),
            Self::Deny => deny(),
            Self::Deps => deps::run(),
            Self::Tidy => tidy::run(),
            Self::Rfc => rfc::run(&rfc::Options::check()),
            Self::Test => test::run(&test::Options::default()),
        }
    }
}

fn rustdoc() -> Result<()> {
    let mut cargo = shell::cargo();
    cargo.env("RUSTDOCFLAGS", "--deny=warnings");
    shell::run(cargo.args(["doc", "--workspace", "--no-deps", "--locked"]))
}

/// Advisories are not asked for here: they change without a change of ours.
fn deny() -> Result<()> {
    let mut deny = Command::new(setup::cargo_tool("cargo-deny")?);
    deny.current_dir(shell::root());
    shell::run(deny.args(["--workspace", "--locked", "check", "bans", "licenses", "sources"]))
}

#[expect(clippy::disallowed_methods, reason = "a task may look at the clock")]
fn now() -> Instant {
    Instant::now()
}
