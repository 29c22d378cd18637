//! Crowds of flows: what they cost, and whether all are served when all speak at once.

use std::time::Duration;

use anyhow::Result;

use crate::load::{Figures, now};
use crate::process::Process;
use crate::subject::Running;
use crate::usage;
use crate::workload::{SETTLED, pause};

/// How long a crowd may take to open, and to have its answers.
const PATIENCE: Duration = Duration::from_mins(2);

/// Opens flows twice, to see what the first crowd leaves behind.
pub(crate) fn idle(
    running: &Running,
    rest: Duration,
    start: impl Fn() -> Result<Process>,
) -> Result<Figures> {
    let process = running.client()?;
    pause(SETTLED);
    let mut figures = Figures::from([
        ("idle MB".into(), usage::anonymous_megabytes(process)?),
        ("idle RSS MB".into(), usage::resident_megabytes(process)?),
    ]);
    for cycle in ["first", "second"] {
        let load = start()?;
        load.wait_line_for("open", PATIENCE)?;
        figures.push((format!("{cycle} MB"), usage::anonymous_megabytes(process)?));
        figures.push((format!("{cycle} RSS MB"), usage::resident_megabytes(process)?));
        load.finish()?;
        pause(rest);
        figures.push((format!("after {cycle} MB"), usage::anonymous_megabytes(process)?));
        figures.push((format!("after {cycle} descriptors"), usage::descriptors(process)?));
    }
    Ok(figures)
}

/// Several programs open flows, and when all are open all speak at once.
pub(crate) fn at_once(
    running: &Running,
    flows: f64,
    start: impl Iterator<Item = Result<Process>>,
) -> Result<Figures> {
    let (client, proxy) = (running.client()?, running.proxy()?);
    let megabytes =
        || anyhow::Ok((usage::anonymous_megabytes(client)?, usage::anonymous_megabytes(proxy)?));
    let (descriptors, before, begun) = (usage::descriptors(client)?, megabytes()?, now());
    let mut loads = start.collect::<Result<Vec<_>>>()?;
    for load in &loads {
        load.wait_line_for("open", PATIENCE)?;
    }
    let (opened_in, after) = (begun.elapsed(), megabytes()?);
    // The client had one before, and needs no descriptor for anything else.
    let connections = 1.0 + usage::descriptors(client)? - descriptors;
    loads.iter_mut().for_each(Process::close_input);
    let spoken = loads.into_iter().map(Process::figures).collect::<Result<Vec<_>>>()?;
    let all = |name: &str| {
        let figures = spoken.iter().flatten().filter(move |(figure, _)| figure == name);
        figures.map(|(_, value)| *value).collect::<Vec<_>>()
    };
    Ok(Figures::from([
        ("unanswered".into(), all("unanswered").iter().fold(0.0, |sum, some| sum + some)),
        ("slowest s".into(), all("slowest s").into_iter().fold(0.0, f64::max)),
        ("p50 µs".into(), all("p50 µs").into_iter().fold(0.0, f64::max)),
        ("open in s".into(), opened_in.as_secs_f64()),
        ("client B/flow".into(), (after.0 - before.0) * 1e6 / flows),
        ("proxy B/flow".into(), (after.1 - before.1) * 1e6 / flows),
        ("connections to the proxy".into(), connections),
    ]))
}
