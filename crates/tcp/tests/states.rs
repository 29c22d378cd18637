//! The state table, event × state → state and answer, as the engine really behaves: written to
//! `docs/tcp-states.md`, and compared with what stands there.

mod common;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use common::bench::{Bench, ack, data, fin, rst, syn};
use pseudotcp_packet::{TcpFlags, Unreachable};
use pseudotcp_tcp::{CloseCause, Config, Event, FlowId, Refusal, State};

/// Set, it makes the test write the table instead of comparing it.
const BLESS: &str = "PSEUDOTCP_BLESS";

/// Later than any acknowledgement may be delayed.
const DELAY: Duration = Duration::from_millis(40);

const INTRODUCTION: &str = "\
# States of a TCP connection

What the engine does, event by state: a test drives a real engine into every state, lets the event
happen and writes down what follows. `PSEUDOTCP_BLESS=1 cargo test -p pseudotcp-tcp --test states`
writes this page anew; without the variable the test fails where the page and the engine differ.

The states are those of RFC 9293 §3.3.2 for a passive opener. HELD takes the place of LISTEN: a SYN
has arrived and the far side is being opened. In SILENT the answer is put off, and the app's SYNs are
absorbed. CLOSED means that no such connection is known. Acknowledgements may be late by a few
milliseconds, and several that are owed at once leave as one. Each line of RFC 9293 §3.10 behind this
table has a packet script in `crates/tcp/tests/scripts`.

A cell says which state follows (— where it stays), after a dot what is sent, and in parentheses what
the far side is told. \"Next\" is the next number of the app's stream, \"all\" all that the engine has
sent.
";

/// The states side by side in one part of the page.
const PARTS: [(&str, &[State]); 3] = [
    ("Opening", &[State::Closed, State::Held, State::Silent, State::SynReceived]),
    ("Open", &[State::Established, State::CloseWait, State::FinWait1, State::FinWait2]),
    ("Closing", &[State::Closing, State::LastAck, State::TimeWait]),
];

/// Something that happens to a connection.
type Happening = fn(&mut Scene);

/// What happens, and how.
const EVENTS: [(&str, Happening); 29] = [
    ("SYN, the same again", |s| s.bench.app(syn())),
    ("SYN, another number", |s| s.bench.app(syn().seq(5_000))),
    ("SYN-ACK", |s| s.bench.app(syn().with(TcpFlags::ACK).ack_of(s.ours))),
    ("ACK of all", |s| s.bench.app(ack(s.next, s.ours))),
    ("ACK of our SYN only", |s| s.bench.app(ack(s.next, 1))),
    ("ACK of what was not sent", |s| s.bench.app(ack(s.next, s.ours + 100))),
    ("keep-alive", |s| s.bench.app(ack(s.next - 1, s.ours))),
    ("data, next", |s| s.bench.app(data(s.next, s.ours, "data"))),
    ("data, old", |s| s.bench.app(data(0, s.ours, "d"))),
    ("data, ahead of a gap", |s| s.bench.app(data(s.next + 10, s.ours, "data"))),
    ("data, beyond the window", |s| s.bench.app(data(s.next + 70_000, s.ours, "data"))),
    ("data, without ACK", |s| s.bench.app(data(s.next, s.ours, "data").without_ack())),
    ("data with FIN", |s| s.bench.app(data(s.next, s.ours, "data").with(TcpFlags::FIN))),
    ("FIN, acknowledges all", |s| s.bench.app(fin(s.next, s.ours))),
    ("FIN, acknowledges our SYN only", |s| s.bench.app(fin(s.next, 1))),
    ("FIN, ahead of a gap", |s| s.bench.app(fin(s.next + 10, s.ours))),
    ("FIN, the same again", |s| s.bench.app(fin(s.next - 1, s.ours))),
    ("RST, next number", |s| s.bench.app(rst(s.next))),
    ("RST, elsewhere in the window", |s| s.bench.app(rst(s.next + 5))),
    ("RST, outside the window", |s| s.bench.app(rst(s.next + 70_000))),
    ("accept", |s| s.command(|bench, id| bench.engine.accept(bench.now, id))),
    ("refuse: reset", |s| s.refuse(Refusal::Reset)),
    ("refuse: unreachable", |s| s.refuse(Refusal::Unreachable(Unreachable::Host))),
    ("refuse: later", |s| s.refuse(Refusal::Later { after: Duration::from_secs(5) })),
    ("write", |s| s.command(|bench, id| bench.write(id, "data"))),
    ("finish", |s| s.command(Bench::finish)),
    ("write and finish", |s| {
        s.command(|bench, id| bench.write(id, "data"));
        s.command(Bench::finish);
    }),
    ("reset", |s| s.command(|bench, id| bench.engine.reset(bench.now, id))),
    ("nothing for three hours", |s| s.bench.after(Duration::from_hours(3))),
];

/// A connection in some state.
struct Scene {
    bench: Bench,
    id: Option<FlowId>,
    /// The next number of the app.
    next: u32,
    /// One past all that was sent to the app.
    ours: u32,
}

impl Scene {
    fn new(state: State) -> Self {
        let bench = Bench::new(Config::new());
        let mut scene = Self { bench, id: None, next: 1, ours: 1 };
        scene.reach(state);
        scene.bench.out();
        scene.bench.events();
        assert_eq!(scene.state(), state);
        scene
    }

    fn reach(&mut self, state: State) {
        if state == State::Closed {
            return;
        }
        self.id = Some(self.bench.opening(syn()));
        match state {
            State::Held => return,
            State::Silent => {
                return self.refuse(Refusal::Later { after: Duration::from_secs(5) });
            }
            _ => self.command(|bench, id| bench.engine.accept(bench.now, id)),
        }
        self.bench.out();
        if state != State::SynReceived {
            self.bench.app(ack(1, 1));
            self.close(state);
        }
    }

    /// From ESTABLISHED on.
    fn close(&mut self, state: State) {
        if matches!(state, State::CloseWait | State::LastAck) {
            self.apps_fin(1);
        }
        if !matches!(state, State::Established | State::CloseWait) {
            self.command(Bench::finish);
            self.bench.out();
            self.ours = 2;
        }
        match state {
            State::FinWait2 => self.bench.app(ack(1, 2)),
            State::Closing => self.apps_fin(1),
            State::TimeWait => self.apps_fin(2),
            _ => {}
        }
    }

    fn apps_fin(&mut self, ack: u32) {
        self.bench.app(fin(1, ack));
        self.bench.out();
        self.next = 2;
    }

    fn command(&mut self, act: impl FnOnce(&mut Bench, FlowId)) {
        if let Some(id) = self.id {
            act(&mut self.bench, id);
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.command(|bench, id| bench.engine.refuse(bench.now, id, refusal));
    }

    /// The connection's state, whichever flow has it by now.
    fn state(&self) -> State {
        let engine = &self.bench.engine;
        let mut flows = engine.flows();
        match flows.next() {
            Some(info) => info.state,
            None if engine.stats().time_waits > 0 && engine.poll_timeout().is_some() => {
                State::TimeWait
            }
            None => State::Closed,
        }
    }

    /// What follows from what has just happened.
    fn outcome(mut self, before: State) -> String {
        let mut sent = kinds(&self.bench.out());
        if sent.is_empty() {
            self.bench.after(DELAY);
            sent = kinds(&self.bench.out());
            sent.retain(|kind| *kind == "ACK");
        }
        let after = self.state();
        let mut cell = if after == before { "—".to_owned() } else { after.to_string() };
        if !sent.is_empty() {
            write!(cell, " · {}", sent.join(", ")).unwrap();
        }
        let told = told(&self.bench.events());
        if !told.is_empty() {
            write!(cell, " ({})", told.join(", ")).unwrap();
        }
        cell
    }
}

/// What was sent, in a word each.
fn kinds(sent: &[String]) -> Vec<&'static str> {
    let mut kinds: Vec<&'static str> = sent.iter().map(|text| kind(text)).collect();
    kinds.dedup();
    kinds
}

fn kind(text: &str) -> &'static str {
    let (flags, rest) = text.split_once(' ').unwrap_or((text, ""));
    let data = rest.split(' ').next().is_some_and(|numbers| numbers.contains('+'));
    match (flags, data) {
        _ if text.contains("icmp") => "ICMP",
        _ if flags.contains('R') => "RST",
        _ if flags.contains('S') => "SYN-ACK",
        _ if flags.contains('F') && data => "data and FIN",
        _ if flags.contains('F') => "FIN",
        (_, true) => "data",
        _ => "ACK",
    }
}

fn told(events: &[Event]) -> Vec<&'static str> {
    let told = events.iter().filter_map(|event| match event {
        Event::Opening { .. } => Some("opening"),
        Event::Readable { .. } => Some("readable"),
        Event::Finished { .. } => Some("finished"),
        Event::Expired { .. } => Some("expired"),
        Event::Closed { cause, .. } => Some(cause_name(*cause)),
        Event::Writable { .. } => None,
    });
    told.collect()
}

fn cause_name(cause: CloseCause) -> &'static str {
    match cause {
        CloseCause::Clean => "closed: clean",
        CloseCause::Reset => "closed: reset",
        CloseCause::Cancelled => "closed: cancelled",
        CloseCause::Refused => "closed: refused",
        CloseCause::TimedOut => "closed: timed out",
        CloseCause::Aborted => "closed: aborted",
        CloseCause::Evicted => "closed: evicted",
    }
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (title, states) in PARTS {
        let names: Vec<String> = states.iter().map(State::to_string).collect();
        writeln!(page, "\n## {title}\n\n| event | {} |", names.join(" | ")).unwrap();
        writeln!(page, "| --- |{}", " --- |".repeat(states.len())).unwrap();
        for (name, happen) in EVENTS {
            let cells: Vec<String> = states.iter().map(|state| cell(*state, happen)).collect();
            writeln!(page, "| {name} | {} |", cells.join(" | ")).unwrap();
        }
    }
    page
}

fn cell(state: State, happen: Happening) -> String {
    let mut scene = Scene::new(state);
    happen(&mut scene);
    scene.outcome(state)
}

#[test]
fn the_page_says_what_the_engine_does() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tcp-states.md");
    let page = page();
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap();
    for (line, expected) in page.lines().zip(written.lines()) {
        assert_eq!(line, expected, "docs/tcp-states.md; {BLESS}=1 writes it anew");
    }
    assert_eq!(page.lines().count(), written.lines().count());
}
