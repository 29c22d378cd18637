//! Programs under test: started, heard, signalled, and never left behind.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::clock;

/// How long a program may take to say that it is ready.
const READY: Duration = Duration::from_secs(20);

/// A running program; killed by its process id when dropped.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    output: Arc<Output>,
}

/// The lines that a program has printed so far, on both of its outputs.
#[derive(Default)]
struct Output {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    printed: Vec<String>,
    closed: usize,
}

impl Process {
    /// Starts a program.
    pub(crate) fn start(name: &'static str, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start {name}: {error}"));
        let output = Arc::<Output>::default();
        output.follow(child.stdout.take().expect("piped"));
        output.follow(child.stderr.take().expect("piped"));
        Self { name, child, output }
    }

    /// Waits for a line that contains `text`, and returns it; panics when the program ends first.
    pub(crate) fn wait_line(&self, text: &str) -> String {
        let lines = self.output.lines.lock().expect("not poisoned");
        let missing = |lines: &mut Lines| lines.find(text).is_none() && lines.closed < 2;
        let waited = self.output.changed.wait_timeout_while(lines, READY, missing);
        let found = waited.expect("not poisoned").0.find(text);
        found.unwrap_or_else(|| panic!("{} never printed {text:?}", self.name))
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.output.lines.lock().unwrap_or_else(PoisonError::into_inner).printed.clone()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Waits for the end of the program, which closes its outputs; panics after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let start = clock::now();
        let lines = self.output.lines.lock().expect("not poisoned");
        let open = |lines: &mut Lines| lines.closed < 2;
        drop(self.output.changed.wait_timeout_while(lines, limit, open).expect("not poisoned"));
        let status = self.child.wait().expect("wait for our child");
        assert!(start.elapsed() <= limit, "{} took {:?} to end", self.name, start.elapsed());
        status
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.pid()));
        folder.expect("our own child").count()
    }

    /// What it has allocated and touched, in KiB.
    pub(crate) fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("our own child");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).expect("a number of KiB")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("a process id"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            for line in self.lines().iter().rev().take(40).rev() {
                eprintln!("{}: {line:.200}", self.name);
            }
        }
    }
}

impl Output {
    /// Reads one of the two outputs to its end, on a thread.
    fn follow(self: &Arc<Self>, pipe: impl Read + Send + 'static) {
        let output = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                output.change(|lines| lines.printed.push(line));
            }
            output.change(|lines| lines.closed += 1);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.lines.lock().expect("not poisoned"));
        self.changed.notify_all();
    }
}

impl Lines {
    fn find(&self, text: &str) -> Option<String> {
        self.printed.iter().find(|line| line.contains(text)).cloned()
    }
}
