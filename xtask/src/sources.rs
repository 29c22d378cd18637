//! The files that the tasks look at.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::shell;

/// Folders that hold nothing of ours.
const FOREIGN: &[&str] = &[".git", "artifacts", "corpus", "coverage", "target"];

/// A text file of the repository.
pub(crate) struct Source {
    /// Relative to the root of the workspace.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Source {
    /// Whether the file as a whole is a test, by its place.
    pub(crate) fn is_test(&self) -> bool {
        self.path.components().any(|part| part.as_os_str() == "tests")
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.extension().is_some_and(|extension| extension == "rs")
    }
}

/// Every text file of the repository, in the order of their paths.
pub(crate) fn all() -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    walk(shell::root(), &mut sources)?;
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn walk(dir: &Path, sources: &mut Vec<Source>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let foreign = FOREIGN.iter().any(|name| entry.file_name() == *name);
        if kind.is_dir() && !foreign {
            walk(&entry.path(), sources)?;
        } else if kind.is_file() {
            sources.extend(read(&entry.path())?);
        }
    }
    Ok(())
}

/// `None` for a file that is not UTF-8.
fn read(file: &Path) -> Result<Option<Source>> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let path: PathBuf = file.strip_prefix(shell::root())?.into();
    Ok(String::from_utf8(bytes).ok().map(|text| Source { path, text }))
}
