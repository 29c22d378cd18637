//! What neither the compiler nor clippy checks: sizes, banned words, and what every crate must have.

mod crates;
mod lessons;
mod measure;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::sources::{self, Source};
use measure::{Function, Measure};

/// The most code lines of a file, without its unit tests.
const MAX_FILE: usize = 500;

/// The most code lines of a function.
const MAX_FUNCTION: usize = 60;

/// One thing to put right.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: PathBuf,
    line: usize,
    what: String,
}

impl Finding {
    fn new(path: &Path, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.what)
    }
}

/// Fails on anything untidy, and prints the figures of the whole.
pub(crate) fn run() -> Result<()> {
    let sources = sources::all()?;
    let mut findings = crates::findings()?;
    findings.extend(sources.iter().flat_map(words::findings));
    findings.extend(lessons::findings(&sources));
    let mut measured = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let measure = Measure::of(&source.text);
        let measure = measure.with_context(|| format!("cannot parse {}", source.path.display()))?;
        findings.extend(size_findings(source, &measure));
        measured.push((source, measure));
    }
    findings.sort();
    for finding in &findings {
        eprintln!("{finding}");
    }
    print_figures(&measured);
    ensure!(findings.is_empty(), "{} untidy place(s)", findings.len());
    Ok(())
}

fn size_findings(source: &Source, measure: &Measure) -> Vec<Finding> {
    let path = &source.path;
    let mut findings = Vec::new();
    if measure.code_lines > MAX_FILE {
        let what = format!("{} code lines, more than {MAX_FILE}", measure.code_lines);
        findings.push(Finding::new(path, 1, what));
    }
    let long = measure.functions.iter().filter(|function| function.lines > MAX_FUNCTION);
    findings.extend(long.map(|function| {
        let what =
            format!("`{}` has {} lines, more than {MAX_FUNCTION}", function.name, function.lines);
        Finding::new(path, function.line, what)
    }));
    if let Some(line) = measure.unsafe_line.filter(|_| !path.starts_with("crates/tun")) {
        findings.push(Finding::new(path, line, "unsafe code outside crates/tun"));
    }
    findings
}

fn print_figures(measured: &[(&Source, Measure)]) {
    let total: usize = measured.iter().map(|(_, measure)| measure.code_lines).sum();
    println!("tidy: {} Rust files, {total} code lines without unit tests", measured.len());
    if let Some((source, measure)) = measured.iter().max_by_key(|(_, measure)| measure.code_lines) {
        println!("tidy: longest file {} ({})", source.path.display(), measure.code_lines);
    }
    let mut functions: Vec<&Function> = measured.iter().flat_map(|(_, m)| &m.functions).collect();
    functions.sort_by_key(|function| function.lines);
    if let (Some(median), Some(longest)) = (functions.get(functions.len() / 2), functions.last()) {
        let (count, name) = (functions.len(), &longest.name);
        println!(
            "tidy: {count} functions, median {} lines, longest `{name}` ({})",
            median.lines, longest.lines
        );
    }
}
