//! `pseudotcp demo`: the real stack on an embedded default, with nothing to configure.
//!
//! ```text
//!  inner network namespace                        outer network namespace
//!  ┌──────────────────────────┐                   ┌──────────────────────────────┐
//!  │ kernel sockets ──▶ TUN ──┼──▶ data path ─────┼──▶ MASQUE proxy ──▶ targets  │
//!  │ (checks)                 │    (this process) │    (TLS, HTTP/2)             │
//!  └──────────────────────────┘                   └──────────────────────────────┘
//! ```
//!
//! The program runs itself again in the first sandbox that the machine allows; where there is none,
//! an in-process smoltcp host takes the kernel's place.

mod checks;
mod host;
mod pattern;
mod progress;
mod report;
mod sandbox;
mod target;
mod world;

use std::process::ExitCode;

use anyhow::Result;

use self::sandbox::Sandbox;

/// The demo's options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Runs in this sandbox, without looking for the first that is allowed.
    #[arg(long, hide = true)]
    sandbox: Option<Sandbox>,
}

/// Runs the demo. To be called before any thread starts.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match args.sandbox {
        None => sandbox::run_in_sandbox(),
        Some(sandbox) => run_inside(sandbox),
    }
}

/// Enters a sandbox and runs the demo there. What a sandbox lacks is told by an exit code, so that
/// the next one is tried; without any sandbox every error counts.
fn run_inside(sandbox: Sandbox) -> Result<ExitCode> {
    if let Err(error) = sandbox.enter() {
        return Ok(not_allowed(sandbox, &error.into()));
    }
    match world::run(sandbox) {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        Err(error) if sandbox != Sandbox::None && is_not_allowed(&error) => {
            Ok(not_allowed(sandbox, &error))
        }
        Err(error) => Err(error),
    }
}

fn not_allowed(sandbox: Sandbox, error: &anyhow::Error) -> ExitCode {
    eprintln!("pseudotcp: no {sandbox} namespace with a TUN here: {error:#}");
    ExitCode::from(sandbox::NOT_ALLOWED)
}

/// Whether an error says that the machine does not allow or have what the sandbox needs.
fn is_not_allowed(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>()).any(|cause| {
        matches!(cause.kind(), NotFound | PermissionDenied | ReadOnlyFilesystem | Unsupported)
    })
}
