//! What a process costs, as the kernel counts it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The kernel's clock ticks a second, of which `/proc` speaks; 100 on every Linux of today.
const TICKS: f64 = 100.0;

/// CPU seconds that a process has used so far, in user space and in the kernel.
pub(crate) fn cpu_seconds(process: u32) -> Result<f64> {
    let stat = read(process, "stat")?;
    let (_, fields) = stat.rsplit_once(')').context("no fields in stat")?;
    let mut fields = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    let (user, system) = (fields.next(), fields.next());
    Ok((user.context("no user time")?? + system.context("no system time")??) / TICKS)
}

/// Anonymous resident memory in MB: what the process itself has allocated.
pub(crate) fn anonymous_megabytes(process: u32) -> Result<f64> {
    Ok(field(&read(process, "status")?, "RssAnon:")? * 1_024.0 / 1e6)
}

/// All resident memory in MB, pages of the program's own file included.
pub(crate) fn resident_megabytes(process: u32) -> Result<f64> {
    Ok(field(&read(process, "status")?, "VmRSS:")? * 1_024.0 / 1e6)
}

/// How often the process has gone to sleep, over all its threads.
pub(crate) fn sleeps(process: u32) -> Result<f64> {
    let mut sum = 0.0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        sum += field(&status, "voluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

/// How many descriptors are open.
pub(crate) fn descriptors(process: u32) -> Result<f64> {
    Ok(fs::read_dir(format!("/proc/{process}/fd"))?.map(|_| 1.0).sum())
}

fn read(process: u32, file: &str) -> Result<String> {
    let path = Path::new("/proc").join(process.to_string()).join(file);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn field(status: &str, name: &str) -> Result<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.with_context(|| format!("no {name}"))?.parse()?)
}
