//! What is done over every way, and which figure of it counts.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::crowd;
use crate::lab::Lab;
use crate::load::Figures;
use crate::process::Process;
use crate::subject::{Programs, Proxy, Running, Subject};
use crate::usage;
use crate::wire::Distance;

/// One measurement.
pub(crate) struct Workload {
    /// Its name in the report.
    pub(crate) name: String,
    kind: Kind,
    /// How far away the proxy is, if farther than the next machine.
    distance: Option<Distance>,
}

/// 50 ms there and back.
const FAR: Distance = Distance { delay: 25, loss: 0, rate: 0 };
/// How often memory is looked at while a load runs.
const GLANCE: Duration = Duration::from_millis(20);
/// After so long the kernel has finished the addresses of the links that were made for this.
pub(crate) const SETTLED: Duration = Duration::from_secs(3);

/// What shows the cost of a hop.
const HOPS_MATTER: [&str; 4] =
    ["bulk down × 1", "bulk up × 1", "connect-request-close × 1", "ping"];

/// Loads in which each message waits for the one before.
const MESSAGES: [&str; 4] = ["churn", "get", "ping", "udp-ping"];

enum Kind {
    /// The load program with these arguments; a figure may be put in relation to the client's CPU time.
    Load { arguments: String, per: Option<Per> },
    /// Memory and descriptors: idle, with so many flows, and after their end.
    Crowd { kind: &'static str, flows: usize, rest: Duration },
    /// Several programs with so many flows each, of which all speak at once.
    AtOnce { programs: u32, flows: u32 },
    /// How often an idle client wakes up.
    Idle(Duration),
    /// How long the client takes to be ready.
    Start,
}

/// What CPU time is divided by: a figure of the load.
struct Per {
    figure: &'static str,
    unit: f64,
    name: &'static str,
}

impl Workload {
    /// All workloads; `quick` ones show that everything runs, and little more.
    pub(crate) fn all(quick: bool) -> Vec<Self> {
        let seconds = if quick { 0.3 } else { 2.0 };
        let mut workloads = vec![Self::new("start", Kind::Start)];
        for (direction, streams) in ["down", "up"]
            .into_iter()
            .flat_map(|way| [1, 8, 128, 512].map(|streams| (way, streams)))
        {
            workloads.push(Self::bulk(direction, streams, seconds));
        }
        for (bytes, count) in
            [(10_000, 300), (100_000, 200), (1_000_000, 50), (10_000_000, 10), (100_000_000, 2)]
        {
            let count = if quick { 2 } else { count };
            let name = format!("GET {} kB", bytes / 1_000);
            workloads.push(Self::load(name, format!("get --bytes {bytes} --count {count}")));
        }
        workloads.extend([1, 16].map(|parallel| Self::churn(parallel, seconds)));
        workloads.push(Self::load("ping", format!("ping --seconds {seconds}")));
        for direction in ["down", "up"] {
            let arguments = format!("ping --seconds {seconds} --beside {direction}");
            workloads.push(Self::load(format!("ping beside bulk {direction}"), arguments));
        }
        workloads.push(Self::load("UDP ping", format!("udp-ping --seconds {seconds}")));
        for (direction, size) in
            ["up", "down"].into_iter().flat_map(|way| [64, 1_200].map(|size| (way, size)))
        {
            let arguments =
                format!("udp-rate {direction} --size {size} --seconds {}", seconds / 2.0);
            workloads.push(Self::load(format!("UDP {direction} {size} B"), arguments));
        }
        for direction in ["up", "down"] {
            let arguments =
                format!("udp-rate {direction} --size 1200 --batched --seconds {}", seconds / 2.0);
            workloads.push(Self::load(format!("UDP {direction} 1200 B, batched"), arguments));
        }
        workloads.extend(Self::from_afar(quick));
        workloads.extend(Self::of_the_process(quick));
        workloads
    }

    /// Over a way that takes its time.
    fn from_afar(quick: bool) -> Vec<Self> {
        let (megabytes, count, seconds) = if quick { (1, 1, 1.0) } else { (10, 3, 8.0) };
        let get = format!("get --bytes {megabytes}000000 --count {count}");
        let lossy = Distance { loss: 100, ..FAR };
        let narrow = Distance { rate: 20, ..FAR };
        let ping = format!("ping --seconds {seconds}");
        [
            (format!("far GET {megabytes} MB"), get.clone(), FAR),
            (format!("far GET {megabytes} MB, 1 % lost"), get, lossy),
            ("far ping, 20 Mbit/s".into(), ping.clone(), narrow),
            ("far ping beside bulk up, 20 Mbit/s".into(), format!("{ping} --beside up"), narrow),
        ]
        .map(|(name, arguments, distance)| Self {
            distance: Some(distance),
            ..Self::load(name, arguments)
        })
        .into()
    }

    /// What only our own process can be asked.
    fn of_the_process(quick: bool) -> Vec<Self> {
        let scale = if quick { 20 } else { 1 };
        let rest = Duration::from_secs(if quick { 1 } else { 30 });
        let crowd = |kind, flows| {
            Self::new(format!("{flows} idle {kind} flows"), Kind::Crowd { kind, flows, rest })
        };
        let at_once = |programs, flows| {
            let name = format!("{} flows of {programs} programs at once", programs * flows);
            Self::new(name, Kind::AtOnce { programs, flows })
        };
        vec![
            crowd("tcp", 1_000 / scale),
            crowd("tcp", 10_000 / scale),
            crowd("udp", 1_000 / scale),
            crowd("udp", 10_000 / scale),
            at_once(2, if quick { 450 } else { 9_000 }),
            Self::new("no flows", Kind::Idle(Duration::from_secs(20 / scale as u64))),
        ]
    }

    fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self { name: name.into(), kind, distance: None }
    }

    fn load(name: impl Into<String>, arguments: String) -> Self {
        Self::new(name, Kind::Load { arguments, per: None })
    }

    fn bulk(direction: &str, streams: u32, seconds: f64) -> Self {
        let arguments = format!("bulk {direction} --streams {streams} --seconds {seconds}");
        let per = Per { figure: "bytes", unit: 1e9, name: "CPU s/GB" };
        let kind = Kind::Load { arguments, per: Some(per) };
        Self::new(format!("bulk {direction} × {streams}"), kind)
    }

    fn churn(parallel: u32, seconds: f64) -> Self {
        let arguments = format!("churn --parallel {parallel} --seconds {seconds}");
        let per = Per { figure: "connections", unit: 1e6, name: "CPU µs each" };
        let kind = Kind::Load { arguments, per: Some(per) };
        Self::new(format!("connect-request-close × {parallel}"), kind)
    }

    /// Whether one round is enough: it takes long, and varies little.
    pub(crate) fn once(&self) -> bool {
        matches!(self.kind, Kind::Crowd { .. } | Kind::AtOnce { .. } | Kind::Idle(_))
    }

    /// Whether this can be asked of a subject.
    pub(crate) fn suits(&self, subject: &Subject) -> bool {
        match (&self.kind, subject) {
            (_, subject) if subject.is_for_far_proxies() => self.distance.is_some(),
            (Kind::Load { arguments, .. }, subject) if subject.is_for_round_trips() => {
                self.distance.is_none() && MESSAGES.iter().any(|kind| arguments.starts_with(kind))
            }
            (_, subject) if subject.is_for_several_flows() => {
                self.name.contains(" × ") && !self.name.ends_with(" × 1")
            }
            (_, Subject::TwoHops | Subject::ThreeHops) => HOPS_MATTER.contains(&&*self.name),
            (Kind::Load { arguments, .. }, Subject::StackMemory) => arguments.starts_with("bulk"),
            (Kind::Load { arguments, .. }, Subject::Plain(_)) => !arguments.starts_with("udp"),
            (_, Subject::Bare { .. } | Subject::StackDirect) if self.distance.is_some() => false,
            (Kind::Load { .. }, _) => true,
            (_, subject) => matches!(subject, Subject::Ours(Proxy::Ours, _, []) | Subject::Peer(_)),
        }
    }

    /// How far away the proxy is for this, if farther than the next machine.
    pub(crate) fn distance(&self) -> Option<Distance> {
        self.distance
    }

    /// The transport that a stack in memory needs for this.
    pub(crate) fn memory_transport(&self) -> &'static str {
        match &self.kind {
            Kind::Load { arguments, .. } if arguments.starts_with("bulk up") => "discard",
            _ => "source",
        }
    }

    /// Measures.
    pub(crate) fn measure(
        &self,
        lab: &Lab,
        programs: &Programs,
        running: &Running,
    ) -> Result<Figures> {
        match &self.kind {
            Kind::Load { arguments, per } => {
                let load = || load(lab, programs, running, arguments);
                with_costs(running, per.as_ref(), load)
            }
            Kind::Crowd { kind, flows, rest } => {
                let arguments = format!("crowd {kind} --flows {flows}");
                crowd::idle(running, *rest, || start(lab, programs, running, &arguments))
            }
            Kind::AtOnce { programs: count, flows } => {
                let arguments = format!("crowd tcp --flows {flows} --speak");
                let loads = (0..*count).map(|_| start(lab, programs, running, &arguments));
                crowd::at_once(running, f64::from(count * flows), loads)
            }
            Kind::Idle(time) => {
                let process = running.client()?;
                pause(SETTLED);
                let before = usage::sleeps(process)?;
                pause(*time);
                let woken = usage::sleeps(process)? - before;
                Ok(Figures::from([("wake-ups".into(), woken)]))
            }
            Kind::Start => {
                let milliseconds = running.started_in.as_secs_f64() * 1e3;
                Ok(Figures::from([("ready in ms".into(), milliseconds)]))
            }
        }
    }
}

/// Runs a load, and adds what it cost the client.
fn with_costs(
    running: &Running,
    per: Option<&Per>,
    load: impl FnOnce() -> Result<Figures>,
) -> Result<Figures> {
    let (Ok(process), Some(per)) = (running.client(), per) else { return load() };
    let before = usage::cpu_seconds(process)?;
    let (measured, memory) = thread::scope(|scope| {
        let (running, ended) = channel();
        let watch = scope.spawn(move || most_memory(process, &ended));
        let measured = load();
        drop(running);
        (measured, watch.join())
    });
    let mut figures = measured?;
    let cpu = usage::cpu_seconds(process)? - before;
    let figure = figures.iter().find(|(name, _)| name == per.figure);
    let (_, value) = figure.context("the load gave no such figure")?;
    figures.push((per.name.into(), cpu / (value / per.unit)));
    figures.push(("MB at most".into(), memory.unwrap_or(f64::NAN)));
    Ok(figures)
}

/// The most memory that a process has, until the other end of the channel is dropped.
fn most_memory(process: u32, running: &Receiver<()>) -> f64 {
    let mut most = 0.0;
    while running.recv_timeout(GLANCE) == Err(RecvTimeoutError::Timeout) {
        most = usage::anonymous_megabytes(process).map_or(most, |now| now.max(most));
    }
    most
}

fn start(lab: &Lab, programs: &Programs, running: &Running, arguments: &str) -> Result<Process> {
    let mut command = lab.client.command(&programs.bench);
    command.arg("load").args(&running.arguments).args(arguments.split_whitespace());
    Process::start("the load", command)
}

fn load(lab: &Lab, programs: &Programs, running: &Running, arguments: &str) -> Result<Figures> {
    start(lab, programs, running, arguments)?.figures()
}

/// Lets real time pass: what is measured is a span of it.
pub(crate) fn pause(time: Duration) {
    let (_keep, never) = channel::<()>();
    let _ = never.recv_timeout(time);
}
