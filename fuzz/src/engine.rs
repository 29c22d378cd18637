//! The TCP engine from outside: apps that do anything on one side, a far side that does anything on
//! the other, and what must hold all the same.
//!
//! * Octets come out as they went in, in both directions, and none before its predecessor.
//! * Octets sent never pass the window.
//! * Unread octets and the window shown fit the receive buffer; all buffers fit the budget.
//! * Every flow is opened, and closed exactly once; a closed flow reports nothing and sends no
//!   octets.
//! * Packets are whole, and fit the MTU once they are cut.
//! * Draining ends, time moves on, and when all flows are gone no timer and no buffer is left.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use pseudotcp_packet::{Packet, Transport, Unreachable};
use pseudotcp_tcp::{Config, Engine, Event, FlowId, Refusal, State, Stats};

use crate::app::{App, Shape};
use crate::packet::assert_whole;

/// More outputs than one input can cause.
const DRAINED: usize = 20_000;

/// One run.
#[derive(Arbitrary, Debug)]
pub struct Input {
    limits: Limits,
    steps: Vec<Step>,
}

/// The engine's configuration, as far as it bounds something.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Limits {
    small: bool,
    super_segments: bool,
    few_flows: bool,
}

/// One thing that happens to the app of this number, or to all.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Segment { app: u8, shape: Shape },
    Accept { app: u8 },
    Refuse { app: u8, how: u8 },
    Read { app: u8, max: u16 },
    Write { app: u8, len: u16, ask: bool },
    Finish { app: u8 },
    Reset { app: u8 },
    Wait { millis: u16 },
    Timer,
}

/// Plays a run; panics where something does not hold. Returns what the engine counted.
pub fn play(input: &Input) -> Stats {
    let mut world = World::new(input.limits);
    for step in &input.steps {
        world.take(*step);
        world.drain();
    }
    world.end();
    *world.engine.stats()
}

struct World {
    engine: Engine,
    now: Instant,
    began: Instant,
    apps: Vec<App>,
    /// Apps whose five-tuple has a new flow while the old one waits to be read.
    retired: Vec<App>,
    closed: HashSet<FlowId>,
    mtu: usize,
    largest: usize,
    receive_buffer: u32,
    budget: usize,
}

impl World {
    fn new(limits: Limits) -> Self {
        let (mtu, buffer) = if limits.small { (576, 2_048) } else { (1_500, 262_144) };
        let largest = if limits.super_segments { 65_535 } else { mtu };
        let budget = 1 << 20;
        let mut config = Config::new().mtu(mtu).receive_buffer(buffer).budget(budget);
        config = config.send_buffer(usize::try_from(buffer).unwrap_or(usize::MAX));
        if limits.super_segments {
            config = config.max_segment_bytes(largest);
        }
        if limits.few_flows {
            config = config.max_flows(2).backlog(1);
        }
        let began = beginning();
        let ends = [
            ("10.0.0.1:1", "10.0.0.9:80"),
            ("10.0.0.1:1", "10.0.0.9:81"),
            ("[fd00::1]:1", "[fd00::9]:80"),
            ("[fd00::2]:2", "[fd00::9]:80"),
        ];
        let app = |(from, to): (&str, &str)| App::new(from.parse().unwrap(), to.parse().unwrap());
        Self {
            engine: Engine::new(config, [7; 16]),
            now: began,
            began,
            apps: ends.map(app).into(),
            retired: Vec::new(),
            closed: HashSet::new(),
            mtu: mtu.try_into().unwrap(),
            largest: largest.try_into().unwrap(),
            receive_buffer: buffer,
            budget,
        }
    }

    fn take(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Segment { app, shape } => {
                let clock = u32::try_from((now - self.began).as_millis()).unwrap_or(u32::MAX);
                let packet = self.app(app).send(shape, clock);
                self.engine.handle_segment(now, &packet);
                self.acknowledge(app);
            }
            Step::Accept { app } => self.command(app, |engine, id| engine.accept(now, id)),
            Step::Refuse { app, how } => {
                self.command(app, |engine, id| engine.refuse(now, id, refusal(how)));
            }
            Step::Read { app, max } => self.read(app, max.into()),
            Step::Write { app, len, ask } => self.write(app, len.into(), ask),
            Step::Finish { app } => {
                self.app(app).finish();
                self.command(app, |engine, id| engine.finish(now, id));
            }
            Step::Reset { app } => self.command(app, |engine, id| engine.reset(now, id)),
            Step::Wait { millis } => self.now += Duration::from_millis(millis.into()),
            Step::Timer => self.fire(),
        }
    }

    fn app(&mut self, number: u8) -> &mut App {
        let number = usize::from(number) % self.apps.len();
        &mut self.apps[number]
    }

    /// Tells the app how the engine has taken its last segment.
    fn acknowledge(&mut self, number: u8) {
        let id = self.app(number).id;
        let info = self.engine.flows().find(|info| Some(info.id) == id);
        if let Some(info) = info.filter(|info| info.state != State::SynReceived) {
            self.app(number).acknowledged(info.bytes_out);
        }
    }

    fn command(&mut self, app: u8, act: impl FnOnce(&mut Engine, FlowId)) {
        if let Some(id) = self.app(app).id {
            act(&mut self.engine, id);
        }
    }

    /// Takes octets: the app's, in order, and some where some were announced.
    fn read(&mut self, number: u8, max: usize) {
        let now = self.now;
        let Some(id) = self.app(number).id else { return };
        let data = self.engine.read(now, id, max + 1);
        let app = self.app(number);
        assert!(!app.readable || data.is_some(), "readable, but nothing to read");
        app.readable = false;
        for octet in data.iter().flatten() {
            assert_eq!(*octet, app.octet(app.read), "octet {} of the app", app.read);
            app.read += 1;
        }
        assert!(data.is_none_or(|data| (1..=max + 1).contains(&data.len())));
    }

    fn write(&mut self, number: u8, len: usize, ask: bool) {
        let now = self.now;
        let Some(id) = self.app(number).id else { return };
        let len = if ask { len.min(self.engine.write_credit(now, id)) } else { len };
        let data = self.app(number).compose(len);
        self.engine.write(now, id, data);
    }

    /// Moves on to the next timer. What is due must not be due still when it was served.
    fn fire(&mut self) {
        let Some(due) = self.engine.poll_timeout() else { return };
        self.now = self.now.max(due);
        self.engine.handle_timeout(self.now);
        self.drain();
        let next = self.engine.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "a timer stands still");
    }

    /// Takes all outputs, as the contract of the engine demands after each input.
    fn drain(&mut self) {
        for _ in 0..DRAINED {
            if let Some(event) = self.engine.poll_event() {
                self.on_event(event);
            } else if let Some(packet) = self.engine.poll_transmit(self.now) {
                self.on_packet(&packet);
            } else {
                assert!(self.engine.buffered() <= self.budget, "the budget is exceeded");
                return;
            }
        }
        panic!("draining does not end");
    }

    fn on_event(&mut self, event: Event) {
        let id = match event {
            Event::Opening { id, flow } => {
                let app = self.apps.iter_mut().find(|app| app.flow() == flow);
                let app = app.expect("a flow of nobody");
                let old = app.open(id);
                if old.id.is_some_and(|known| known != id) {
                    // The old flow is over, but for octets that the far side has not read.
                    assert!(old.finished, "two flows of one five-tuple");
                    self.retired.push(old);
                }
                id
            }
            Event::Readable { id } => {
                let app = self.owner(id);
                assert!(!app.readable, "readable twice");
                app.readable = true;
                id
            }
            Event::Finished { id } => {
                let app = self.owner(id);
                assert!(!app.finished, "finished twice");
                app.finished = true;
                id
            }
            Event::Closed { id, .. } => {
                self.owner(id).id = None;
                assert!(self.closed.insert(id), "closed twice");
                return;
            }
            Event::Writable { id } | Event::Expired { id } => id,
        };
        assert!(!self.closed.contains(&id), "an event after the last one: {event:?}");
    }

    fn owner(&mut self, id: FlowId) -> &mut App {
        let mut apps = self.apps.iter_mut().chain(&mut self.retired);
        apps.find(|app| app.id == Some(id)).expect("an event of nobody's flow")
    }

    fn on_packet(&mut self, packet: &Packet) {
        assert!(packet.total_len() <= self.largest, "{packet} is too large");
        for piece in packet.segments() {
            assert!(piece.total_len() <= self.mtu, "{piece} exceeds the MTU");
            assert_whole(&piece);
        }
        let Transport::Tcp(tcp) = packet.transport() else { return };
        let flow = packet.flow().expect("a TCP segment has a flow").reversed();
        let app = self.apps.iter_mut().find(|app| app.flow() == flow).expect("sent to nobody");
        app.hear(&tcp, &packet.body().concat(), self.receive_buffer);
    }

    /// Ends all flows: nothing must be left, and no timer once the last echo has died away.
    fn end(&mut self) {
        self.apps.append(&mut self.retired);
        for number in 0..u8::try_from(self.apps.len()).unwrap_or(u8::MAX) {
            let now = self.now;
            self.read(number, usize::from(u16::MAX));
            self.command(number, |engine, id| engine.reset(now, id));
        }
        self.drain();
        assert!(self.apps.iter().all(|app| app.id.is_none()), "a reset flow lives on");
        assert_eq!((self.engine.flow_count(), self.engine.buffered()), (0, 0));
        for _ in 0..100 {
            self.fire();
        }
        assert_eq!(self.engine.poll_timeout(), None, "a timer for nothing");
    }
}

fn refusal(how: u8) -> Refusal {
    match how % 4 {
        0 => Refusal::Reset,
        1 => Refusal::Unreachable(Unreachable::Host),
        2 => Refusal::Unreachable(Unreachable::Prohibited),
        _ => Refusal::Later { after: Duration::from_millis(u64::from(how) * 100) },
    }
}

#[expect(clippy::disallowed_methods, reason = "virtual time needs some instant to begin with")]
fn beginning() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model that never gets anywhere would find nothing.
    #[test]
    fn an_honest_app_gets_through() {
        let app = 0;
        let segment = |shape| Step::Segment { app, shape };
        let (window, mss) = (u16::MAX, Some(1_460));
        let ack = segment(Shape::Ack { window, sack: None });
        let syn = Shape::Syn { fresh: Some(9), window, scale: Some(7), mss, timestamps: true };
        let steps = vec![
            segment(syn),
            Step::Accept { app },
            ack,
            segment(Shape::Data { len: 3_000, gap: 0, window }),
            Step::Read { app, max: u16::MAX },
            Step::Write { app, len: 5_000, ask: true },
            ack,
            segment(Shape::Fin { len: 7 }),
            Step::Read { app, max: u16::MAX },
            Step::Finish { app },
            ack,
            Step::Wait { millis: 10 },
            Step::Timer,
        ];
        let limits = Limits { small: false, super_segments: false, few_flows: false };
        let stats = play(&Input { limits, steps });
        assert_eq!((stats.opened, stats.closed, stats.resets_out), (1, 1, 0));
        assert_eq!((stats.bytes_in, stats.bytes_out), (3_007, 5_000));
    }
}
