//! A run: every subject in turn, workload by workload, round after round.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use nix::unistd::geteuid;

use crate::lab::Lab;
use crate::process::Process;
use crate::report::Report;
use crate::subject::{Peer, Programs, Subject};
use crate::workload::Workload;
use crate::{chart, history};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// The pseudotcp program.
    #[arg(long)]
    program: PathBuf,

    /// The Envoy program; without it there is nothing about Envoy.
    #[arg(long)]
    envoy: Option<PathBuf>,

    /// Where results go.
    #[arg(long)]
    out: PathBuf,

    /// How often each measurement is made.
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Much shorter measurements, one round: shows that everything runs.
    #[arg(long)]
    quick: bool,

    /// Only workloads whose names contain this.
    #[arg(long)]
    workload: Option<String>,

    /// Only subjects with one of these names, or whose names contain it where none is so called.
    #[arg(long)]
    subject: Vec<String>,

    /// Another program to compare with, which makes a device "bench0": 'NAME; PROXY COMMAND; CLIENT
    /// COMMAND', both run by a shell, in the namespaces of the proxy (192.0.2.1) and of the client.
    #[arg(long)]
    peer: Vec<Peer>,
}

/// Measures and reports.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(geteuid().is_root(), "namespaces and devices need root");
    let programs = Programs {
        pseudotcp: options.program.canonicalize().context("the pseudotcp program")?,
        envoy: options.envoy.clone().filter(|path| path.is_file()),
        bench: std::env::current_exe()?,
    };
    let subjects = subjects(options, &programs);
    let workloads = Workload::all(options.quick).into_iter();
    let workloads: Vec<_> = workloads.filter(|workload| options.wants(workload)).collect();
    let lab = Lab::new(&options.out)?;
    let server = Process::start("the server", {
        let mut command = lab.server.command(&programs.bench);
        command.arg("serve");
        command
    })?;
    server.wait_line("serving")?;
    let mut report = Report::default();
    for round in 1..=if options.quick { 1 } else { options.rounds } {
        for workload in workloads.iter().filter(|workload| round == 1 || !workload.once()) {
            eprintln!("round {round}: {}", workload.name);
            for subject in subjects.iter().filter(|subject| workload.suits(subject)) {
                let measured = measure(&lab, &programs, subject, workload);
                report.add(&workload.name, subject.name(), measured);
            }
        }
    }
    print!("{report}");
    history::compare_and_append(&options.out.join("history.jsonl"), &report)?;
    std::fs::write(options.out.join("report.json"), report.to_json()?)?;
    chart::draw(&options.out.join("chart.svg"), &report)?;
    println!("\nresults and chart: {}", options.out.display());
    report.verdict()
}

fn subjects(options: &Options, programs: &Programs) -> Vec<Subject> {
    let mut all = Subject::all(programs, &options.peer);
    let names: Vec<_> = all.iter().map(|subject| subject.name().to_owned()).collect();
    let wanted = |name: &str| {
        let is_meant =
            |part: &String| name == part || !names.contains(part) && name.contains(part.as_str());
        options.subject.is_empty() || options.subject.iter().any(is_meant)
    };
    all.retain(|subject| wanted(subject.name()));
    all
}

impl Options {
    fn wants(&self, workload: &Workload) -> bool {
        self.workload.as_ref().is_none_or(|part| workload.name.contains(part))
    }
}

fn measure(
    lab: &Lab,
    programs: &Programs,
    subject: &Subject,
    workload: &Workload,
) -> Result<crate::load::Figures> {
    let _way = lab.connect(&programs.bench, workload.distance())?;
    let running = subject.start(lab, programs, workload)?;
    workload.measure(lab, programs, &running)
}
