//! Plays a script, line by line.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use pseudotcp_packet::{FlowKey, Packet, SeqNumber, TcpFlags};

use super::action::{self, Action, Line, When, seconds};
use super::connection::{Connection, stream};
use super::notation::{Icmp, Segment};
use super::{ScriptError, Subject, compare, wire};
use crate::world::epoch;

/// The app's SYN has this number on the wire unless the script says otherwise.
const IRS: SeqNumber = SeqNumber::new(1_000_000);
/// Lines of history that a failure shows.
const REMEMBERED: usize = 20;
/// Timers that may fire at one instant before time is taken to stand still.
const MAX_TIMERS: usize = 10_000;
/// The largest piece that is written at once.
const MAX_WRITE: u32 = 65_536;
/// Events that need no mention: they say that something can be done.
const HINTS: &[&str] = &["readable", "writable"];

/// Plays the script of a file against a subject that nothing has happened to.
///
/// # Errors
///
/// The first line that did not come true, or could not be read.
///
/// # Panics
///
/// Where the file cannot be read.
pub fn run(path: &Path, subject: impl Subject) -> Result<(), ScriptError> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    play(&file, &text, subject)
}

fn play(file: &str, text: &str, subject: impl Subject) -> Result<(), ScriptError> {
    let fail = |line, message, trace| ScriptError { file: file.into(), line, message, trace };
    let lines = action::parse(text).map_err(|(line, error)| fail(line, error, Vec::new()))?;
    let mut runner = Runner::new(subject);
    let last = lines.last().map_or(0, |line| line.number);
    for line in lines {
        let (number, text) = (line.number, line.text.clone());
        let step = runner.step(line);
        step.map_err(|error| fail(number, format!("{text}\n    {error}"), runner.history()))?;
    }
    let left = runner.nothing_is_left();
    left.map_err(|error| fail(last, format!("at the end {error}"), runner.history()))
}

struct Runner<S> {
    subject: S,
    epoch: Instant,
    now: Instant,
    /// When the line before happened.
    last: Instant,
    /// How much later than said something may come.
    tolerance: Duration,
    addresses: (IpAddr, IpAddr),
    irs: SeqNumber,
    connections: BTreeMap<u16, Connection>,
    current: u16,
    /// New flows are accepted at once.
    listens: bool,
    sent: VecDeque<Packet>,
    events: VecDeque<(FlowKey, String)>,
    trace: VecDeque<String>,
}

/// What a line waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Packet,
    Event,
}

impl<S: Subject> Runner<S> {
    fn new(subject: S) -> Self {
        let now = epoch();
        Self {
            subject,
            epoch: now,
            now,
            last: now,
            tolerance: Duration::ZERO,
            addresses: ([10, 0, 0, 1].into(), [192, 0, 2, 7].into()),
            irs: IRS,
            connections: BTreeMap::new(),
            current: 0,
            listens: false,
            sent: VecDeque::new(),
            events: VecDeque::new(),
            trace: VecDeque::new(),
        }
    }

    fn step(&mut self, line: Line) -> Result<(), String> {
        let (when, action) = (line.when, line.action);
        match action {
            Action::Config(pairs) => {
                return pairs.iter().try_for_each(|(key, value)| self.configure(key, value));
            }
            Action::Expect(segment) => {
                self.wait(when, Awaited::Packet)?;
                self.take_segment(&segment)?;
            }
            Action::ExpectIcmp(icmp) => {
                self.wait(when, Awaited::Packet)?;
                self.take_icmp(icmp)?;
            }
            Action::Event(event) => {
                self.wait(when, Awaited::Event)?;
                self.take_event(&event)?;
            }
            action => {
                self.advance(self.bounds(when).0)?;
                self.remember(line.text.split_once(' ').map_or("", |(_, what)| what.trim()));
                self.act(action)?;
            }
        }
        self.last = self.now;
        Ok(())
    }

    fn configure(&mut self, key: &str, value: &str) -> Result<(), String> {
        let address = || value.parse().map_err(|_| format!("{value} is not an address"));
        match key {
            "tolerance" => self.tolerance = seconds(value)?,
            "app" => self.addresses.0 = address()?,
            "server" => self.addresses.1 = address()?,
            "irs" => {
                self.irs = SeqNumber::new(super::notation::number(value)?);
            }
            _ => return self.subject.configure(key, value),
        }
        Ok(())
    }

    /// What happens at once.
    fn act(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Inject(segment) => self.inject(&segment)?,
            Action::InjectIcmp(icmp) => {
                let packet = wire::icmp(self.connection(), icmp)?;
                self.subject.handle_packet(self.now, &packet);
            }
            Action::Listen => self.listens = true,
            Action::Flow(n) => self.current = n,
            Action::Write(len) => self.write(len)?,
            Action::Read(len) => self.read(len)?,
            Action::Query(name, value) => self.query(&name, &value)?,
            Action::IsnMoved(least) => self.isn_moved(least)?,
            Action::Silence => self.nothing_is_left()?,
            Action::Flush => self.drain(),
            Action::Command(words) => self.command(&words)?,
            _ => {}
        }
        self.accept_if_listening()
    }

    fn inject(&mut self, segment: &Segment) -> Result<(), String> {
        let packet = wire::segment(self.connection(), segment)?;
        let flags = segment.flags;
        if let Some(range) = segment.range
            && flags.contains(TcpFlags::SYN)
            && !flags.contains(TcpFlags::ACK)
        {
            self.connection().syn_injected(range.start);
        }
        self.subject.handle_packet(self.now, &packet);
        Ok(())
    }

    fn write(&mut self, len: usize) -> Result<(), String> {
        let mut left = u32::try_from(len).map_err(|_| "too much")?;
        while left > 0 {
            let piece = left.min(MAX_WRITE);
            let connection = self.connection();
            let (flow, data) = (connection.flow, stream(connection.written, piece));
            connection.written = connection.written.wrapping_add(piece);
            self.subject.write(self.now, &flow, data);
            left -= piece;
        }
        Ok(())
    }

    /// Takes exactly so many bytes; 0 means that there must be none.
    fn read(&mut self, len: usize) -> Result<(), String> {
        let mut left = u32::try_from(len).map_err(|_| "too much")?;
        if left == 0 {
            let flow = self.connection().flow;
            let none = self.subject.read(self.now, &flow, 1).is_none();
            return if none { Ok(()) } else { Err("there is something to read".into()) };
        }
        while left > 0 {
            let (flow, at) = (self.connection().flow, self.connection().read);
            let max = usize::try_from(left).unwrap_or(usize::MAX);
            let Some(data) = self.subject.read(self.now, &flow, max) else {
                return Err(format!("{left} of {len} bytes could not be read"));
            };
            let taken = u32::try_from(data.len()).unwrap_or(u32::MAX);
            if data != stream(at, taken) {
                return Err(format!("not the bytes that the app sent from {at} on"));
            }
            self.connection().read = at.wrapping_add(taken);
            left = left.saturating_sub(taken);
        }
        Ok(())
    }

    fn command(&mut self, words: &str) -> Result<(), String> {
        let flow = self.connection().flow;
        let words: Vec<&str> = words.split_whitespace().collect();
        self.subject.command(self.now, &flow, &words)
    }

    fn query(&mut self, name: &str, wanted: &str) -> Result<(), String> {
        let flow = self.connection().flow;
        let value = if name == "timer" {
            self.drain();
            self.timer()
        } else {
            self.subject
                .query(self.now, &flow, name)
                .ok_or_else(|| format!("{name} is not known"))?
        };
        let number = |text: &str| text.trim().parse::<f64>().ok();
        let holds = match (wanted.strip_prefix(">="), wanted.strip_prefix("<=")) {
            (Some(least), _) => {
                number(&value).zip(number(least)).is_some_and(|(v, least)| v >= least)
            }
            (_, Some(most)) => number(&value).zip(number(most)).is_some_and(|(v, most)| v <= most),
            _ => value == wanted,
        };
        if holds { Ok(()) } else { Err(format!("{name} is {value}")) }
    }

    /// How long until the subject's timer is due, in seconds.
    fn timer(&mut self) -> String {
        let due = self.subject.poll_timeout();
        due.map_or("none".into(), |due| {
            due.saturating_duration_since(self.now).as_secs_f64().to_string()
        })
    }

    fn isn_moved(&mut self, least: u32) -> Result<(), String> {
        match self.connection().isn_moved() {
            Some(moved) if u32::try_from(moved).is_ok_and(|moved| moved >= least) => Ok(()),
            Some(moved) => Err(format!("the initial number moved by {moved}, not by {least}")),
            None => Err("there were no two SYNs".into()),
        }
    }

    fn take_segment(&mut self, expected: &Segment) -> Result<(), String> {
        let Some(packet) = self.sent.pop_front() else { return Err("nothing came".into()) };
        self.connection().observe(&packet);
        let told = compare::tell(self.connection(), &packet);
        self.remember(&told);
        let difference = compare::difference(self.connection(), expected, &packet);
        difference.map_or(Ok(()), |part| Err(format!("{part}: {told} came")))
    }

    fn take_icmp(&mut self, expected: Icmp) -> Result<(), String> {
        let Some(packet) = self.sent.pop_front() else { return Err("nothing came".into()) };
        self.remember(&format!("> {packet}"));
        let difference = compare::icmp_difference(self.connection(), expected, &packet);
        difference.map_or(Ok(()), |part| Err(format!("{part}: {packet} came")))
    }

    fn take_event(&mut self, expected: &str) -> Result<(), String> {
        let hint = HINTS.contains(&expected);
        while let Some((flow, event)) = self.events.pop_front() {
            self.remember(&event);
            let ours = flow == self.connection().flow;
            if ours && event == expected {
                return Ok(());
            }
            if hint || !HINTS.contains(&event.as_str()) {
                let whose = if ours { String::new() } else { format!(" of {}", flow.source()) };
                return Err(format!("the event {event}{whose} came"));
            }
        }
        Err("no event came".into())
    }

    /// Lets time pass until something comes, within the line's bounds.
    fn wait(&mut self, when: When, awaited: Awaited) -> Result<(), String> {
        let (earliest, latest) = self.bounds(when);
        let latest = latest + self.tolerance;
        loop {
            self.accept_if_listening()?;
            if self.has(awaited) {
                break;
            }
            if let Some(due) = self.next_timer().filter(|due| *due <= latest) {
                self.leave_instant(due)?;
                self.fire(due);
            } else {
                let waited = (latest - self.epoch).as_secs_f64();
                return Err(format!("nothing came until {waited} s"));
            }
        }
        if self.now < earliest {
            let early = (earliest - self.now).as_secs_f64();
            let what = self.describe(awaited);
            return Err(format!("{what} came {early} s too early"));
        }
        Ok(())
    }

    fn describe(&mut self, awaited: Awaited) -> String {
        match (awaited, self.sent.front().cloned()) {
            (Awaited::Packet, Some(packet)) => compare::tell(self.connection(), &packet),
            _ => self.events.front().map_or_else(String::new, |(_, event)| event.clone()),
        }
    }

    fn has(&mut self, awaited: Awaited) -> bool {
        match awaited {
            Awaited::Packet => {
                self.drain();
                !self.sent.is_empty()
            }
            Awaited::Event => {
                self.collect_events();
                !self.events.is_empty()
            }
        }
    }

    /// Lets time pass until then; whatever comes meanwhile is too much.
    fn advance(&mut self, to: Instant) -> Result<(), String> {
        if to < self.now {
            return Err("the line lies in the past".into());
        }
        // Lines of one instant are one batch: nothing is taken between them.
        while to > self.now {
            let due = self.next_timer().filter(|due| *due <= to).unwrap_or(to);
            self.leave_instant(due)?;
            self.fire(due);
            self.accept_if_listening()?;
        }
        Ok(())
    }

    /// Time moves on only when nothing is left of the present.
    fn leave_instant(&mut self, to: Instant) -> Result<(), String> {
        if to > self.now { self.nothing_is_left() } else { Ok(()) }
    }

    fn fire(&mut self, due: Instant) {
        self.now = self.now.max(due);
        for _ in 0..MAX_TIMERS {
            if self.subject.poll_timeout().is_none_or(|due| due > self.now) {
                return;
            }
            self.subject.handle_timeout(self.now);
        }
        panic!("a timer is due for ever");
    }

    /// What is owed may arm a timer, so it is taken first.
    fn next_timer(&mut self) -> Option<Instant> {
        self.drain();
        self.subject.poll_timeout()
    }

    fn nothing_is_left(&mut self) -> Result<(), String> {
        self.accept_if_listening()?;
        self.drain();
        self.collect_events();
        if let Some(packet) = self.sent.pop_front() {
            self.connection().observe(&packet);
            let told = compare::tell(self.connection(), &packet);
            return Err(format!("{told} came and was not expected"));
        }
        let news = |(_, event): &&(FlowKey, String)| !HINTS.contains(&event.as_str());
        match self.events.iter().find(news) {
            Some((_, event)) => Err(format!("the event {event} came and was not expected")),
            None => Ok(()),
        }
    }

    fn drain(&mut self) {
        while let Some(packet) = self.subject.poll_transmit(self.now) {
            self.sent.push_back(packet);
        }
    }

    fn collect_events(&mut self) {
        while let Some((flow, event)) = self.subject.poll_event() {
            if event == "opening" {
                let mut connections = self.connections.values_mut();
                if let Some(opened) = connections.find(|connection| connection.flow == flow) {
                    opened.opened();
                }
            }
            self.events.push_back((flow, event));
        }
    }

    fn accept_if_listening(&mut self) -> Result<(), String> {
        if !self.listens {
            return Ok(());
        }
        self.collect_events();
        while let Some(at) = self.events.iter().position(|(_, event)| event == "opening") {
            if let Some((flow, _)) = self.events.remove(at) {
                self.subject.command(self.now, &flow, &["accept"])?;
            }
        }
        Ok(())
    }

    fn bounds(&self, when: When) -> (Instant, Instant) {
        let base = if when.relative { self.last } else { self.epoch };
        (base + when.earliest, base + when.latest)
    }

    fn connection(&mut self) -> &mut Connection {
        let (n, addresses, irs) = (self.current, self.addresses, self.irs);
        self.connections.entry(n).or_insert_with(|| Connection::new(n, addresses, irs))
    }

    fn remember(&mut self, what: &str) {
        if self.trace.len() == REMEMBERED {
            self.trace.pop_front();
        }
        let at = (self.now - self.epoch).as_secs_f64();
        self.trace.push_back(format!("{at:>10.6} {what}"));
    }

    fn history(&self) -> Vec<String> {
        self.trace.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use pseudotcp_packet::build::TcpSegment;
    use pseudotcp_packet::{Body, TcpOptions, Transport};

    use crate::world::Node;

    /// Answers every SYN with RST, a second later, and tells of it.
    #[derive(Default)]
    struct Refuser {
        held: Option<(Instant, Packet)>,
        sent: Option<Packet>,
        event: Option<FlowKey>,
    }

    impl Node for Refuser {
        fn handle_packet(&mut self, now: Instant, packet: &Packet) {
            self.held = Some((now + Duration::from_secs(1), packet.clone()));
        }

        fn handle_timeout(&mut self, now: Instant) {
            let Some((_, syn)) = self.held.take_if(|(due, _)| *due <= now) else { return };
            let (flow, Transport::Tcp(tcp)) = (syn.flow().unwrap(), syn.transport()) else {
                return;
            };
            let segment = TcpSegment {
                flow: flow.reversed(),
                seq: SeqNumber::new(0),
                ack: Some(tcp.seq().advance(1)),
                flags: TcpFlags::RST,
                window: 0,
                options: TcpOptions::default(),
                segment_size: None,
            };
            self.sent = Some(segment.build(Body::default()));
            self.event = Some(flow);
        }

        fn poll_transmit(&mut self, _: Instant) -> Option<Packet> {
            self.sent.take()
        }

        fn poll_timeout(&mut self) -> Option<Instant> {
            self.held.as_ref().map(|(due, _)| *due)
        }
    }

    impl Subject for Refuser {
        fn configure(&mut self, key: &str, _: &str) -> Result<(), String> {
            Err(format!("{key} is not known"))
        }

        fn command(&mut self, _: Instant, _: &FlowKey, words: &[&str]) -> Result<(), String> {
            Err(format!("{} is not known", words.join(" ")))
        }

        fn write(&mut self, _: Instant, _: &FlowKey, _: Bytes) {}

        fn read(&mut self, _: Instant, _: &FlowKey, _: usize) -> Option<Bytes> {
            None
        }

        fn poll_event(&mut self) -> Option<(FlowKey, String)> {
            self.event.take().map(|flow| (flow, "refused".into()))
        }

        fn query(&mut self, _: Instant, _: &FlowKey, name: &str) -> Option<String> {
            (name == "answer").then(|| "42".into())
        }
    }

    /// The message of the failure, empty where there is none.
    fn outcome(script: &str) -> String {
        play("test.pkt", script, Refuser::default()).err().map_or(String::new(), |e| e.to_string())
    }

    const SYN: &str = "0 < S 7:7(0) win 100 <mss 1460>\n";

    #[test]
    fn what_comes_in_time_passes() {
        assert_eq!(outcome(&format!("{SYN}+1 > R. 0:0(0) ack 8 win 0\n+0 event refused")), "");
        assert_eq!(outcome(&format!("{SYN}+.9~+1.1 > R. * ack *\n* event refused")), "");
        assert_eq!(outcome("0 expect answer 42\n0 expect answer >= 42\n0 expect timer none"), "");
    }

    #[test]
    fn what_comes_otherwise_fails_and_says_how() {
        let failure = outcome(&format!("{SYN}+1 > R 0:0(0)\n+0 event refused"));
        assert!(failure.contains("test.pkt:2: +1 > R 0:0(0)"), "{failure}");
        assert!(failure.contains("the flags: > R. 0:0(0) ack 8 win 0 came"), "{failure}");
        let early = outcome(&format!("{SYN}+2 > R. 0:0(0) ack 8"));
        assert!(early.contains("came 1 s too early"), "{early}");
        let late = outcome(&format!("{SYN}+.5 > R. 0:0(0) ack 8"));
        assert!(late.contains("nothing came until 0.5 s"), "{late}");
        assert!(outcome("0 expect answer 41").contains("answer is 42"));
    }

    #[test]
    fn what_no_line_expects_fails() {
        let packet = outcome(&format!("{SYN}+2 silence"));
        assert!(packet.contains("> R. 0:0(0) ack 8 win 0 came and was not expected"), "{packet}");
        let event = outcome(&format!("{SYN}+1 > R. 0:0(0) ack 8"));
        assert!(event.contains("the event refused came and was not expected"), "{event}");
    }

    #[test]
    fn what_cannot_be_read_fails_with_its_line() {
        assert!(outcome("\n+0 > X 1:1(0)").starts_with("test.pkt:2: X are no flags"));
        assert!(outcome("config magic=1").contains("magic is not known"));
    }
}
