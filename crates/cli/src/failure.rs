//! How errors become messages and exit codes.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::output;

/// The exit code of arguments that cannot be.
const USAGE: u8 = 2;

/// What the arguments have wrong. Its message holds no secret.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Usage {}

/// An error of usage as the error of a command.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

/// Prints an error with its causes, and says how the program ends.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    output::show(&format!("pseudotcp: {}\n", message(error)));
    match error.downcast_ref::<Usage>() {
        Some(_) => ExitCode::from(USAGE),
        None => ExitCode::FAILURE,
    }
}

/// An error and its causes in one line; a cause that the line above repeats is left out.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !line.contains(&cause) {
            line = if line.is_empty() { cause } else { format!("{line}: {cause}") };
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn causes_stand_in_one_line_and_once() {
        let error = Err::<(), _>(anyhow!("refused")).context("dialling: refused").unwrap_err();
        assert_eq!(message(&error), "dialling: refused");
        let error = Err::<(), _>(anyhow!("refused")).context("dialling").unwrap_err();
        assert_eq!(message(&error), "dialling: refused");
    }

    #[test]
    fn usage_errors_are_told_apart() {
        assert_eq!(report(&usage("no")), ExitCode::from(2));
        assert_eq!(report(&anyhow!("no")), ExitCode::FAILURE);
    }
}
