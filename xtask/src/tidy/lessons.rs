//! `docs/lessons.md` names tests; they must exist.

use std::collections::BTreeSet;

use super::Finding;
use crate::sources::Source;

const LESSONS: &str = "docs/lessons.md";

/// Tests that the lessons name and nobody has.
pub(super) fn findings(sources: &[Source]) -> Vec<Finding> {
    let tests: BTreeSet<&str> =
        sources.iter().filter(|s| s.is_rust()).flat_map(functions).collect();
    let Some(lessons) = sources.iter().find(|source| source.path.ends_with(LESSONS)) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (index, line) in lessons.text.lines().enumerate() {
        let missing = named(line).filter(|name| !tests.contains(name));
        findings.extend(missing.map(|name| {
            Finding::new(&lessons.path, index + 1, format!("there is no test `{name}`"))
        }));
    }
    findings
}

/// The names of all functions of a file.
fn functions(source: &Source) -> impl Iterator<Item = &str> {
    let names = source.text.lines().filter_map(|line| line.trim_start().split_once("fn "));
    names.filter_map(|(_, rest)| rest.split(['(', '<']).next())
}

/// What a line has in backticks and begins with the number of a lesson: `d04_…`.
fn named(line: &str) -> impl Iterator<Item = &str> {
    let quoted = line.split('`').skip(1).step_by(2);
    quoted.filter(|name| {
        let digits = name.strip_prefix('d').map(|rest| rest.bytes().take_while(u8::is_ascii_digit));
        digits.is_some_and(|digits| digits.count() == 2) && !name.contains('…')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[test]
    fn a_test_that_does_not_exist_is_found() {
        let sources = [
            source("crates/a/src/lib.rs", "    async fn d01_there() {}\n"),
            source(LESSONS, "`d04_…` is a name\n| 1 | text | `d01_there` (a), `d02_gone` (a) |\n"),
        ];
        let findings = findings(&sources);
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].line, &*findings[0].what), (2, "there is no test `d02_gone`"));
    }
}
