//! `pseudotcp down`: takes back what a killed run has left.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::logging::Logging;
use crate::output;
use crate::setup::linux::HostSetup;

/// Takes everything back that killed runs have left in this network namespace; what belongs to runs
/// that live stays.
pub(crate) fn run(logging: &Logging) -> Result<ExitCode> {
    logging.start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(take_back())?;
    Ok(ExitCode::SUCCESS)
}

async fn take_back() -> Result<()> {
    let mut setup = HostSetup::new()?;
    for process in setup.others() {
        output::say(&format!("process {process} still runs; SIGTERM ends it"));
    }
    if setup.is_empty() {
        output::say("nothing is left");
        return Ok(());
    }
    if !setup.take_back().await {
        bail!("not everything could be taken back");
    }
    output::say("routes, rules and DNS are as they were");
    Ok(())
}
