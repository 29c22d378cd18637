//! What the program says. That nobody may be listening any more is no reason to fail.

use std::io::{self, Write};

/// One line on standard output, for programs that wait for it.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "pseudotcp: {line}");
}

/// Text for people or programs on standard output, as it is.
pub(crate) fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Text for the operator on standard error, as it is.
pub(crate) fn show(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// `1 route`, `2 routes`.
pub(crate) fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
