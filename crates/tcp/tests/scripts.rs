//! Packet scripts against the engine: one rule each, see `scripts/README.md`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use libtest_mimic::{Arguments, Failed, Trial};
use pseudotcp_packet::{FlowKey, Packet, Protocol, SeqNumber, Transport, Unreachable};
use pseudotcp_tcp::{CloseCause, Config, CongestionControl, Engine, Event, FlowId, Refusal, State};
use pseudotcp_testkit::Node;
use pseudotcp_testkit::script::{self, Subject};

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let entries = fs::read_dir(folder).expect("the folder of scripts");
    let mut scripts: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a folder's entry").path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "pkt"));
    scripts.sort();
    let all = scripts.clone();
    let mut trials: Vec<Trial> = scripts.into_iter().map(trial).collect();
    trials.push(Trial::test("every_transition_has_a_script", move || every_transition(&all)));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(path: PathBuf) -> Trial {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Trial::test(name, move || {
        let text = fs::read_to_string(&path)?;
        names_its_rule(&path, &text)?;
        Ok(script::run(&path, Interposer::default())?)
    })
}

/// Every legal step of the state machine from one state to another is taken in some script.
fn every_transition(scripts: &[PathBuf]) -> Result<(), Failed> {
    let taken = Transitions::default();
    for path in scripts {
        let subject = Interposer { taken: taken.clone(), ..Interposer::default() };
        // Whether the script holds is for its own trial to say.
        _ = script::run(path, subject);
    }
    let legal = TRANSITIONS.lines().filter_map(|line| line.split_once(" -> "));
    let pairs = legal.map(|(before, to)| (before.split_whitespace().last().unwrap_or(""), to));
    let taken = taken.borrow();
    let missing: Vec<String> = pairs
        .filter(|&(from, to)| from != to && !taken.contains(&(from.to_owned(), to.to_owned())))
        .map(|(from, to)| format!("{from} -> {to}"))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(missing.join(", ").into()) }
}

/// `rfc9293-3.10.7.4-….pkt` begins with a comment that cites `RFC 9293 §3.10.7.4`.
fn names_its_rule(path: &Path, text: &str) -> Result<(), String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let first = text.lines().next().unwrap_or_default();
    let Some(named) = name.strip_prefix("rfc") else {
        return if first.starts_with("// ") {
            Ok(())
        } else {
            Err("no rule in the first line".into())
        };
    };
    let mut parts = named.splitn(3, '-');
    let (rfc, section) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let numbered = section.chars().next().is_some_and(|c| c.is_ascii_digit());
    let cited = if numbered { format!("RFC {rfc} §{section}") } else { format!("RFC {rfc}") };
    if first.contains(&cited) {
        Ok(())
    } else {
        Err(format!("the first line does not cite {cited}"))
    }
}

/// The table of the state machine, as its own test has written it down.
const TRANSITIONS: &str =
    include_str!("../src/flow/snapshots/pseudotcp_tcp__flow__state__tests__the_whole_table.snap");

/// The steps that were seen, from a state to another.
type Transitions = Rc<RefCell<BTreeSet<(String, String)>>>;

/// The engine, made when its configuration is complete.
#[derive(Default)]
struct Interposer {
    config: Config,
    engine: Option<Engine>,
    ids: HashMap<FlowKey, FlowId>,
    flows: HashMap<FlowId, FlowKey>,
    states: BTreeMap<FlowId, State>,
    taken: Transitions,
}

impl Interposer {
    fn engine(&mut self) -> &mut Engine {
        self.engine.get_or_insert_with(|| Engine::new(self.config.clone(), [9; 16]))
    }

    /// Lets something happen to the engine, and notes which states have changed.
    fn with<R>(&mut self, act: impl FnOnce(&mut Engine) -> R) -> R {
        let time_waits = self.engine().stats().time_waits;
        let result = act(self.engine());
        let engine = self.engine();
        let now: BTreeMap<FlowId, State> =
            engine.flows().map(|info| (info.id, info.state)).collect();
        let waits = engine.stats().time_waits > time_waits;
        let gone = if waits { State::TimeWait } else { State::Closed };
        for (id, before) in std::mem::replace(&mut self.states, now) {
            let after = self.states.get(&id).copied().unwrap_or(gone);
            self.taken.borrow_mut().insert((before.to_string(), after.to_string()));
        }
        result
    }

    fn id(&self, flow: &FlowKey) -> Result<FlowId, String> {
        self.ids.get(flow).copied().ok_or_else(|| "there is no such flow".to_owned())
    }
}

impl Node for Interposer {
    fn handle_packet(&mut self, now: Instant, packet: &Packet) {
        match too_big(packet) {
            Some((quoted, seq, mtu)) => {
                self.with(|engine| engine.handle_too_big(now, &quoted, seq, mtu));
            }
            None => self.with(|engine| engine.handle_segment(now, packet)),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.with(|engine| engine.handle_timeout(now));
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Packet> {
        self.with(|engine| engine.poll_transmit(now))
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.engine().poll_timeout()
    }
}

impl Subject for Interposer {
    fn configure(&mut self, key: &str, value: &str) -> Result<(), String> {
        let config = self.config.clone();
        let number = || value.parse::<u32>().map_err(|_| format!("{value} is not a number"));
        let bytes = || value.parse::<usize>().map_err(|_| format!("{value} is not a number"));
        let time = || duration(value);
        self.config = match key {
            "mtu" => config.mtu(number()?),
            "max_segment_bytes" => config.max_segment_bytes(number()?),
            "receive_buffer" => config.receive_buffer(number()?),
            "send_buffer" => config.send_buffer(bytes()?),
            "budget" => config.budget(bytes()?),
            "max_flows" => config.max_flows(number()?),
            "backlog" => config.backlog(number()?),
            "open_deadline" => config.open_deadline(time()?),
            "idle_timeout" => config.idle_timeout(time()?),
            "closing_timeout" => config.closing_timeout(time()?),
            "user_timeout" => config.user_timeout(time()?),
            "ecn" => config.ecn(value != "off"),
            "keep_alive" => config.keep_alive(Some(time()?)),
            "ack_delay" => config.ack_delay(time()?),
            "early_accept" => config.early_accept(value == "on"),
            "congestion" => config.congestion(congestion(value)?),
            _ => return Err(format!("{key} is not known")),
        };
        Ok(())
    }

    fn command(&mut self, now: Instant, flow: &FlowKey, words: &[&str]) -> Result<(), String> {
        let id = self.id(flow)?;
        match words {
            ["accept"] => self.with(|engine| engine.accept(now, id)),
            ["refuse", how @ ..] => {
                let refusal = refusal(how)?;
                self.with(|engine| engine.refuse(now, id, refusal));
            }
            ["finish"] => self.with(|engine| engine.finish(now, id)),
            ["reset"] => self.with(|engine| engine.reset(now, id)),
            _ => return Err(format!("{} is not known", words.join(" "))),
        }
        Ok(())
    }

    fn write(&mut self, now: Instant, flow: &FlowKey, data: Bytes) {
        if let Ok(id) = self.id(flow) {
            self.with(|engine| engine.write(now, id, data));
        }
    }

    fn read(&mut self, now: Instant, flow: &FlowKey, max: usize) -> Option<Bytes> {
        let id = self.id(flow).ok()?;
        self.with(|engine| engine.read(now, id, max))
    }

    fn poll_event(&mut self) -> Option<(FlowKey, String)> {
        let event = self.engine().poll_event()?;
        if let Event::Opening { id, flow } = event {
            self.ids.insert(flow, id);
            self.flows.insert(id, flow);
        }
        let (id, name) = told(event);
        Some((*self.flows.get(&id)?, name))
    }

    fn query(&mut self, now: Instant, flow: &FlowKey, name: &str) -> Option<String> {
        let id = self.id(flow).ok();
        let engine = self.engine();
        match name {
            "state" => {
                let info = engine.flows().find(|info| Some(info.id) == id);
                Some(info.map_or("CLOSED".into(), |info| info.state.to_string()))
            }
            "credit" => Some(engine.write_credit(now, id?).to_string()),
            "delivered" => Some(engine.is_delivered(id?).to_string()),
            "flows" => Some(engine.flow_count().to_string()),
            "buffered" => {
                let held = engine.flows().map(|info| info.unread + info.unacknowledged);
                Some(held.sum::<usize>().to_string())
            }
            counter => counted(&format!("{:?}", engine.stats()), counter),
        }
    }
}

/// What an ICMP error says that a packet was too big: its five-tuple, its number, and the MTU.
fn too_big(packet: &Packet) -> Option<(FlowKey, SeqNumber, u32)> {
    let (mtu, quote) = (packet.head().last_chunk::<4>()?, packet.body().concat());
    let (source, destination, tcp) = match packet.transport() {
        Transport::Icmp(icmp) if (icmp.kind(), icmp.code()) == (3, 4) => {
            let address = |at| Some(IpAddr::from(*quote.get(at..)?.first_chunk::<4>()?));
            (address(12)?, address(16)?, quote.get(20..)?)
        }
        Transport::Icmpv6(icmp) if (icmp.kind(), icmp.code()) == (2, 0) => {
            let address = |at| Some(IpAddr::from(*quote.get(at..)?.first_chunk::<16>()?));
            (address(8)?, address(24)?, quote.get(40..)?)
        }
        _ => return None,
    };
    let &[s0, s1, d0, d1, n0, n1, n2, n3] = tcp.first_chunk()?;
    let (from, to) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    let flow = FlowKey::new(Protocol::Tcp, (source, from).into(), (destination, to).into());
    let seq = SeqNumber::new(u32::from_be_bytes([n0, n1, n2, n3]));
    Some((flow, seq, u32::from_be_bytes(*mtu)))
}

/// A counter, out of `Stats { segments_in: 1, … }`.
fn counted(stats: &str, name: &str) -> Option<String> {
    let mut fields = stats.split([',', '{', '}']);
    let value = fields.find_map(|field| field.trim().strip_prefix(name)?.strip_prefix(": "))?;
    Some(value.to_owned())
}

fn told(event: Event) -> (FlowId, String) {
    let (id, name) = match event {
        Event::Opening { id, .. } => (id, "opening"),
        Event::Readable { id } => (id, "readable"),
        Event::Writable { id } => (id, "writable"),
        Event::Finished { id } => (id, "finished"),
        Event::Expired { id } => (id, "expired"),
        Event::Closed { id, cause } => (id, cause_name(cause)),
    };
    (id, name.to_owned())
}

fn cause_name(cause: CloseCause) -> &'static str {
    match cause {
        CloseCause::Clean => "closed clean",
        CloseCause::Reset => "closed reset",
        CloseCause::Cancelled => "closed cancelled",
        CloseCause::Refused => "closed refused",
        CloseCause::TimedOut => "closed timed-out",
        CloseCause::Aborted => "closed aborted",
        CloseCause::Evicted => "closed evicted",
    }
}

fn refusal(how: &[&str]) -> Result<Refusal, String> {
    Ok(match how {
        ["reset"] => Refusal::Reset,
        ["later", after] => Refusal::Later { after: duration(after)? },
        ["network"] => Refusal::Unreachable(Unreachable::Network),
        ["host"] => Refusal::Unreachable(Unreachable::Host),
        ["port"] => Refusal::Unreachable(Unreachable::Port),
        ["host-prohibited"] => Refusal::Unreachable(Unreachable::HostProhibited),
        ["prohibited"] => Refusal::Unreachable(Unreachable::Prohibited),
        _ => return Err(format!("refuse {} is not known", how.join(" "))),
    })
}

fn congestion(name: &str) -> Result<CongestionControl, String> {
    match name {
        "local" => Ok(CongestionControl::Local),
        "cubic" => Ok(CongestionControl::Cubic),
        _ => Err(format!("{name} is not known")),
    }
}

/// `5s` or `200ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = |_| format!("{text} is not a time");
    match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(millis), _) => millis.parse().map(Duration::from_millis).map_err(wrong),
        (_, Some(seconds)) => seconds.parse().map(Duration::from_secs).map_err(wrong),
        _ => Err(format!("{text} is not a time")),
    }
}
