//! Programs of a run: started, waited for, ended.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::load::{FIGURES, Figures};

/// How long a program may take to be ready.
const READY: Duration = Duration::from_secs(30);

/// How long a load may take.
const LOAD: Duration = Duration::from_mins(2);

/// A running program; ended when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// Starts a program.
    pub(crate) fn start(name: &str, mut command: Command) -> Result<Self> {
        command.env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let (sender, lines) = channel();
        follow(child.stdout.take().context("no output")?, sender.clone());
        follow(child.stderr.take().context("no output")?, sender);
        Ok(Self { name: name.to_owned(), child, lines })
    }

    /// Waits for a line that contains `text`, and returns it.
    pub(crate) fn wait_line(&self, text: &str) -> Result<String> {
        self.wait_line_for(text, READY)
    }

    /// The same, with another patience.
    pub(crate) fn wait_line_for(&self, text: &str, patience: Duration) -> Result<String> {
        let mut last = String::new();
        loop {
            match self.lines.recv_timeout(patience) {
                Ok(line) if line.contains(text) => return Ok(line),
                Ok(line) => last = line,
                Err(RecvTimeoutError::Timeout) => bail!("{} never said {text:?}", self.name),
                Err(RecvTimeoutError::Disconnected) => bail!("{} ended: {last}", self.name),
            }
        }
    }

    /// Closes the program's standard input, which the load takes for "enough".
    pub(crate) fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for what a load has measured, and for its end.
    pub(crate) fn figures(self) -> Result<Figures> {
        let line = self.wait_line_for(FIGURES, LOAD)?;
        self.finish()?;
        Ok(serde_json::from_str(line.trim_start_matches(FIGURES))?)
    }

    /// Waits for a successful end.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.close_input();
        let status = self.child.wait()?;
        ensure!(status.success(), "{} failed: {status}", self.name);
        Ok(())
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let id = self.child.id().try_into().map(Pid::from_raw);
        let asked = matches!(self.child.try_wait(), Ok(None))
            && id.is_ok_and(|id| kill(id, Signal::SIGTERM).is_ok());
        if !asked || self.lines_end_late() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

impl Process {
    /// Whether the program still has its outputs open after a while.
    fn lines_end_late(&self) -> bool {
        loop {
            match self.lines.recv_timeout(Duration::from_secs(3)) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }
}

fn follow(pipe: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
}
