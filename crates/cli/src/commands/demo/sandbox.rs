//! Network namespaces of the demo's own, so that it touches nothing of the machine.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getgid, getuid};

/// The exit code by which a child says that its sandbox is not allowed here.
pub(super) const NOT_ALLOWED: u8 = 77;

/// How the demo gets network namespaces of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sandbox {
    /// An unprivileged user namespace, and network namespaces in it.
    User,
    /// Network namespaces, as root.
    Root,
    /// None: an in-process host in place of the kernel.
    None,
}

impl Sandbox {
    /// The order in which they are tried.
    const LADDER: [Self; 3] = [Self::User, Self::Root, Self::None];

    /// Enters the sandbox. To be called before any thread starts.
    pub(super) fn enter(self) -> io::Result<()> {
        match self {
            Self::User => enter_user_namespace(),
            Self::Root => Ok(unshare(CloneFlags::CLONE_NEWNET)?),
            Self::None => Ok(()),
        }
    }
}

/// As on the command line.
impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Root => "root",
            Self::None => "none",
        })
    }
}

/// Runs this program again in the first sandbox of the ladder that the machine allows.
pub(super) fn run_in_sandbox() -> Result<ExitCode> {
    let program = std::env::current_exe().context("finding this program")?;
    for sandbox in Sandbox::LADDER {
        let status = Command::new(&program)
            .args(std::env::args_os().skip(1))
            .args(["--sandbox", &sandbox.to_string()])
            .status()
            .context("starting the demo in a sandbox")?;
        match status.code().map(u8::try_from) {
            Some(Ok(NOT_ALLOWED)) => {}
            Some(Ok(code)) => return Ok(ExitCode::from(code)),
            _ => return Ok(ExitCode::FAILURE),
        }
    }
    Ok(ExitCode::FAILURE)
}

/// Becomes root of a new user namespace that has a network of its own.
fn enter_user_namespace() -> io::Result<()> {
    let (user, group) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

/// A network namespace. Threads enter it; sockets stay in the one in which they were made.
#[derive(Debug)]
pub(super) struct NetNamespace(File);

impl NetNamespace {
    /// The calling thread's.
    pub(super) fn current() -> io::Result<Self> {
        File::open("/proc/thread-self/ns/net").map(Self)
    }

    /// A new one, which the calling thread enters.
    pub(super) fn create() -> io::Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Self::current()
    }

    /// Moves the calling thread into it.
    pub(super) fn enter(&self) -> io::Result<()> {
        Ok(setns(&self.0, CloneFlags::CLONE_NEWNET)?)
    }
}
