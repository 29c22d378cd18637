//! Medians, spans and ratios.

use std::fmt;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::load::Figures;

/// Subjects that others are compared with, in this order of columns.
const BASES: [&str; 2] = ["direct path", "plain h2"];

/// Figures that only help to compute others.
const HIDDEN: [&str; 2] = ["bytes", "connections"];

/// All that was measured.
#[derive(Default)]
pub(crate) struct Report {
    /// In the order of measurement.
    series: Vec<Series>,
    failures: Vec<String>,
}

/// The values of one figure of one workload and subject.
#[derive(Serialize)]
pub(crate) struct Series {
    pub(crate) workload: String,
    pub(crate) figure: String,
    pub(crate) subject: String,
    pub(crate) values: Vec<f64>,
}

/// The series of one figure of one workload, never empty.
pub(crate) type Group<'a> = Vec<&'a Series>;

impl Series {
    /// What is measured.
    pub(crate) fn title(&self) -> String {
        format!("{}: {}", self.workload, self.figure)
    }

    fn measures_the_same(&self, other: &Self) -> bool {
        self.workload == other.workload && self.figure == other.figure
    }

    /// The middle value.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    fn span(&self) -> (f64, f64) {
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (least, most)
    }
}

impl Report {
    /// Takes in one measurement, and shows it.
    pub(crate) fn add(&mut self, workload: &str, subject: &str, measured: Result<Figures>) {
        let figures = match measured {
            Ok(figures) => figures,
            Err(error) => {
                let failure = format!("{workload}, {subject}: {error:#}");
                eprintln!("failed: {failure}");
                return self.failures.push(failure);
            }
        };
        for (figure, value) in figures {
            if HIDDEN.contains(&figure.as_str()) {
                continue;
            }
            eprintln!("  {subject:<20} {value:>10.2}  {figure}");
            let same = |series: &&mut Series| {
                series.workload == workload && series.figure == figure && series.subject == subject
            };
            match self.series.iter_mut().find(same) {
                Some(series) => series.values.push(value),
                None => self.series.push(Series {
                    workload: workload.to_owned(),
                    figure,
                    subject: subject.to_owned(),
                    values: vec![value],
                }),
            }
        }
    }

    /// The series of each workload and figure, in the order of measurement.
    pub(crate) fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for series in &self.series {
            match groups.iter_mut().find(|group| group[0].measures_the_same(series)) {
                Some(group) => group.push(series),
                None => groups.push(vec![series]),
            }
        }
        groups
    }

    /// All series with their values.
    pub(crate) fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(&self.series)?)
    }

    /// An error if something could not be measured.
    pub(crate) fn verdict(&self) -> Result<()> {
        ensure!(self.failures.is_empty(), "not measured:\n{}", self.failures.join("\n"));
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in self.groups() {
            writeln!(f, "\n{}", group[0].title())?;
            let base = |name| group.iter().find(|series| series.subject == name);
            for series in &group {
                let (median, (least, most)) = (series.median(), series.span());
                write!(f, "  {:<18}{median:>10.2}", series.subject)?;
                if series.values.len() > 1 {
                    write!(f, "  ({least:.2} – {most:.2})")?;
                }
                for base in BASES.iter().filter_map(|name| base(*name)) {
                    if base.subject != series.subject {
                        write!(f, "  {:.2} × {}", median / base.median(), base.subject)?;
                    }
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}
