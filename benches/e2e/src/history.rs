//! What earlier runs on this machine said.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::Result;

use crate::report::Report;

/// A change that is worth a remark; machines are noisy.
const REMARKABLE: f64 = 0.15;

/// Medians by "workload, figure, subject".
type Medians = BTreeMap<String, f64>;

/// Prints what differs much from the last run in the file, and appends this run.
pub(crate) fn compare_and_append(path: &Path, report: &Report) -> Result<()> {
    let medians = medians(report);
    let history = fs::read_to_string(path).unwrap_or_default();
    if let Some(last) = history.lines().last() {
        let last: Medians = serde_json::from_str(last)?;
        println!("\nagainst the last run:");
        for (name, value) in &medians {
            if let Some(before) = last.get(name)
                && (value - before).abs() > before.abs() * REMARKABLE
            {
                println!("  {name}: {before:.2} → {value:.2}");
            }
        }
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    Ok(writeln!(file, "{}", serde_json::to_string(&medians)?)?)
}

fn medians(report: &Report) -> Medians {
    let series = report.groups().into_iter().flatten();
    series.map(|one| (format!("{}, {}", one.title(), one.subject), one.median())).collect()
}
