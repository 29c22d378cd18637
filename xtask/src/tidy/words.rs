//! Words and constructs that do not belong into this repository.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::Finding;
use crate::shell;
use crate::sources::Source;

/// Where a ban holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Every text file.
    Text,
    /// Rust files.
    Rust,
}

/// A text that must not occur, and why.
struct Ban {
    text: &'static str,
    scope: Scope,
    why: &'static str,
}

const fn ban(scope: Scope, text: &'static str, why: &'static str) -> Ban {
    Ban { text, scope, why }
}

const BANS: &[Ban] = &[
    ban(Scope::Text, "TODO", "finish it, or open an issue"),
    ban(Scope::Text, "FIXME", "fix it, or open an issue"),
    ban(Scope::Text, "XXX", "say what is meant"),
    ban(Scope::Text, "<<<<<<< ", "an unfinished merge"),
    ban(Scope::Text, "/tmp/", "ask the system for its folder of temporary files"),
    ban(Scope::Rust, "#[ignore", "a test runs, or says why it is skipped"),
    ban(Scope::Rust, "unbounded_channel", "every queue has a capacity"),
    ban(Scope::Rust, "mpsc::unbounded", "every queue has a capacity"),
    ban(Scope::Rust, "thread::sleep", "nothing here sleeps to synchronise"),
    ban(Scope::Rust, "allow(clippy", "`expect` with a reason says when it is no longer needed"),
];

/// This file names what it bans.
const SELF: &str = "xtask/src/tidy/words.rs";

/// Banned texts of one file.
pub(super) fn findings(source: &Source) -> Vec<Finding> {
    if source.path.ends_with(SELF) {
        return Vec::new();
    }
    let numbered = source.text.lines().enumerate();
    numbered.flat_map(|(index, line)| in_line(source, index + 1, line)).collect()
}

fn in_line(source: &Source, number: usize, line: &str) -> Vec<Finding> {
    let applies = |ban: &&Ban| ban.scope == Scope::Text || source.is_rust();
    let found = BANS.iter().filter(applies).filter(|ban| has_word(line, ban.text));
    let mut findings: Vec<_> = found
        .map(|ban| Finding::new(&source.path, number, format!("`{}`: {}", ban.text, ban.why)))
        .collect();
    if private_paths().iter().any(|path| line.contains(path)) {
        findings.push(Finding::new(&source.path, number, "a path of this machine"));
    }
    findings
}

/// Whether `word` occurs and is not part of a longer word in front or behind.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    line.match_indices(word).any(|(at, _)| {
        let (before, after) =
            (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
        let (first, last) = (word.chars().next(), word.chars().next_back());
        !(is_part(before) && is_part(first) || is_part(after) && is_part(last))
    })
}

/// Where this checkout lies, and the home of who works on it. Short ones could be anybody's.
fn private_paths() -> &'static [String] {
    static PATHS: OnceLock<Vec<String>> = OnceLock::new();
    PATHS.get_or_init(|| {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let paths = [home, Some(shell::root().to_owned())].into_iter().flatten();
        let telling = paths.filter(|path| path.components().count() > 2);
        telling.map(|path| format!("{}/", path.display())).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<usize> {
        let source = Source { path: path.into(), text: text.into() };
        findings(&source).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn words_are_found_in_every_text() {
        assert_eq!(found("README.md", "fine\n TODO: more\n"), [2]);
        assert_eq!(found("a.rs", "// FIXME\n"), [1]);
    }

    #[test]
    fn parts_of_words_are_not_words() {
        assert!(found("a.md", "TODOS XXXL aXXX\n").is_empty());
    }

    #[test]
    fn constructs_are_found_in_rust_only() {
        assert_eq!(found("a.rs", "let (tx, rx) = unbounded_channel();\n"), [1]);
        assert!(found("a.md", "memory is never unbounded\n").is_empty());
    }

    #[test]
    fn the_path_of_the_checkout_is_found() {
        for path in private_paths() {
            assert!(found("docs/a.md", &format!("see {path}README.md\n")).contains(&1));
        }
    }
}
