//! Secrets of the command line: never printed, not even by mistake.

use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, Result};

/// A string whose `Debug` tells nothing. Parsing never fails, since an error message of the
/// argument parser would repeat the argument.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// What is hidden; to be handed on, never to be printed.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// What stands before and after the first `separator`.
    pub(crate) fn split(&self, separator: char) -> Option<(&str, &str)> {
        self.0.split_once(separator)
    }

    /// The content of a file, or of standard input for `-`, without white space around it.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Ok(Self(read(path)?.trim().to_owned()))
    }

    /// The secrets of a file, one a line; empty lines and those that begin with `#` are none.
    pub(crate) fn read_lines(path: &Path) -> Result<Vec<Self>> {
        let text = read(path)?;
        let lines = text.lines().map(str::trim);
        let secrets = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        Ok(secrets.map(|line| Self(line.to_owned())).collect())
    }

    /// The value of an environment variable, where it is set and not empty.
    pub(crate) fn from_env(name: &str) -> Option<Self> {
        std::env::var(name).ok().filter(|value| !value.is_empty()).map(Self)
    }
}

fn read(path: &Path) -> Result<String> {
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    text.with_context(|| format!("reading the secret in {}", path.display()))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_tells_nothing() {
        let secret: Secret = "hunter2".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "…");
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn a_file_may_hold_many() {
        let path = std::env::temp_dir().join(format!("secrets-{}", std::process::id()));
        fs::write(&path, "# users\n\n one:1 \ntwo:2").unwrap();
        let secrets = Secret::read_lines(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(secrets.iter().map(Secret::reveal).collect::<Vec<_>>(), ["one:1", "two:2"]);
    }

    #[test]
    fn files_are_trimmed_and_missing_ones_named() {
        let path = std::env::temp_dir().join(format!("secret-{}", std::process::id()));
        fs::write(&path, "  hunter2\n").unwrap();
        assert_eq!(Secret::read(&path).unwrap().reveal(), "hunter2");
        fs::remove_file(&path).unwrap();
        let error = format!("{:#}", Secret::read(&path).unwrap_err());
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}
