//! `pseudotcp policy`: rules, seen without running them.

mod explain;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use self::explain::ExplainArgs;
use crate::output::{self, plural};
use crate::policy::{DnsPlan, PolicyArgs};

/// What to tell of a policy.
#[derive(Debug, Subcommand)]
pub(crate) enum Question {
    /// Tells every mistake in a file of rules, by line and value.
    Check {
        /// The file (TOML; see docs/policy.md).
        file: PathBuf,
    },
    /// Shows what becomes of a flow, and which rule says so.
    Explain(Box<ExplainArgs>),
}

/// Answers the question.
pub(crate) fn run(question: &Question) -> Result<ExitCode> {
    match question {
        Question::Check { file } => check(file),
        Question::Explain(args) => explain::run(args),
    }
}

fn check(file: &Path) -> Result<ExitCode> {
    let args = PolicyArgs { file: Some(file.to_owned()), ..PolicyArgs::default() };
    let loaded = args.load(&DnsPlan::default())?;
    let rules = loaded.places.iter().filter(|place| place.is_in_file()).count();
    output::print(&format!(
        "{}: {}, no mistakes\n",
        file.display(),
        plural(rules, "rule", "rules")
    ));
    Ok(ExitCode::SUCCESS)
}
