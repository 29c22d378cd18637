//! What is set on this machine, kept where the next run finds it if this one is killed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::dns::Former;
use super::plan::Step;

/// Where journals are. The folder is empty after a reboot, as the machine's settings are then.
const FOLDER: &str = "/run/pseudotcp";

/// The most bytes of a journal that are read, far more than any has.
const MAX_LEN: u64 = 16 << 20;

/// One thing that is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// A route or a rule.
    Step(Step),
    /// The system's list of DNS servers, which replaces this.
    Dns(Former),
}

/// The things that are set in this network namespace: by this run, or by one that was killed.
///
/// A file, an entry a line, which its run holds a lock on; so nobody takes a living run's journal
/// for that of a dead one. It goes with the last entry.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    /// Made with the first entry.
    file: Option<File>,
    entries: Vec<Entry>,
    /// The process ids of other runs in this namespace.
    others: Vec<String>,
}

impl Journal {
    /// The journal of this run. What killed runs have left is in it from the start.
    pub(crate) fn open() -> io::Result<Self> {
        let namespace = namespace()?;
        let name = format!("{namespace}-{}", std::process::id());
        Self::open_in(Path::new(FOLDER), &namespace, &name)
    }

    fn open_in(folder: &Path, namespace: &str, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        let mut journal = Self { path, file: None, entries: Vec::new(), others: Vec::new() };
        let files = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        for found in files {
            let name = found.file_name().to_string_lossy().into_owned();
            if let Some((of, process)) = name.split_once('-')
                && of == namespace
            {
                journal.take_over(&found.path(), process)?;
            }
        }
        Ok(journal)
    }

    /// Makes the entries of a dead run our own.
    fn take_over(&mut self, path: &Path, process: &str) -> io::Result<()> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            // Another user's, who has to see to it.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(()),
            file => file?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                self.others.push(process.to_owned());
                return Ok(());
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        for entry in read(file)? {
            self.add(entry);
        }
        fs::remove_file(path)
    }

    /// Whether this is in the journal.
    pub(crate) fn has(&self, step: &Step) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Step(other) if other == step))
    }

    /// What the system's list of DNS servers replaces, if it does.
    pub(crate) fn former_dns(&self) -> Option<&Former> {
        self.entries.iter().rev().find_map(|entry| match entry {
            Entry::Dns(former) => Some(former),
            Entry::Step(_) => None,
        })
    }

    /// The process ids of the other runs in this network namespace.
    pub(crate) fn others(&self) -> &[String] {
        &self.others
    }

    /// Whether nothing is set.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an entry. Where the file cannot be written that is said, and the run goes on.
    pub(crate) fn add(&mut self, entry: Entry) {
        if let Err(error) = self.write(&entry) {
            warn!(%error, file = %self.path.display(), "what is set cannot be found after a crash");
        }
        self.entries.push(entry);
    }

    /// Takes the last entry out, to be undone.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop();
        if self.entries.is_empty() && self.file.take().is_some() {
            // Somebody may have removed it.
            let _ = fs::remove_file(&self.path);
        }
        entry
    }

    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            empty => empty.insert(create(&self.path)?),
        };
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        file.write_all(&line)
    }
}

fn create(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = File::create(path)?;
    file.try_lock()?;
    Ok(file)
}

/// The entries of a file; what a crash has cut short is left out.
fn read(file: File) -> io::Result<Vec<Entry>> {
    let text = io::read_to_string(io::Read::take(file, MAX_LEN))?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// The number of the network namespace of this process.
fn namespace() -> io::Result<String> {
    let link = fs::read_link("/proc/self/ns/net")?;
    Ok(link.to_string_lossy().chars().filter(char::is_ascii_digit).collect())
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Applies, Rule};
    use super::*;

    /// A folder of the test's own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("pseudotcp-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn journal(&self, name: &str) -> Journal {
            Journal::open_in(&self.0, "7", name).unwrap()
        }

        fn files(&self) -> usize {
            fs::read_dir(&self.0).unwrap().count()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn rule(priority: u32) -> Step {
        Step::Rule(Rule { is_ipv6: true, priority, table: 7, applies: Applies::Unmarked(9) })
    }

    #[test]
    fn what_a_dead_run_has_set_is_found_by_the_next() {
        let folder = Folder::new("journal");
        let mut dead = folder.journal("7-1");
        let former = Former::File(b"nameserver 192.0.2.1\n".to_vec());
        dead.add(Entry::Step(rule(1)));
        dead.add(Entry::Dns(former.clone()));
        drop(dead);
        fs::write(folder.0.join("8-1"), "another namespace's").unwrap();
        let cut_short = serde_json::to_string(&Entry::Step(rule(2))).unwrap();
        fs::write(folder.0.join("7-2"), &cut_short[..cut_short.len() - 1]).unwrap();

        let mut next = folder.journal("7-3");
        assert!(next.has(&rule(1)) && !next.has(&rule(2)));
        assert_eq!(next.former_dns(), Some(&former));
        assert_eq!(folder.files(), 2, "the next run's, and that of another namespace");
        assert_eq!(next.pop(), Some(Entry::Dns(former)));
        assert_eq!(next.pop(), Some(Entry::Step(rule(1))));
        assert!(next.is_empty() && folder.files() == 1);
    }

    #[test]
    fn the_journal_of_a_living_run_is_left_alone() {
        let folder = Folder::new("living");
        let mut living = folder.journal("7-1");
        living.add(Entry::Step(rule(1)));
        let other = folder.journal("7-2");
        assert!(other.is_empty());
        assert_eq!(other.others(), ["1"]);
    }
}
