//! The engine against a reference model of one connection: whatever a decent app and the far side
//! do, in whatever order, state and streams are those of the model.

mod common;

use common::bench::{Bench, ack, data, fin, rst, syn};
use common::{assert_pattern, pattern};
use proptest::prelude::*;
use proptest::strategy::Union;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use pseudotcp_tcp::{Config, Event, FlowId, State};

/// What happens: the app's segments, and the far side's commands.
#[derive(Clone, Debug)]
enum Step {
    Syn,
    /// Everything that came is acknowledged.
    Ack,
    Data(u16),
    /// What was sent last comes once more.
    Again,
    Fin,
    Rst,
    Accept,
    Read(u16),
    Write(u16),
    Finish,
    Reset,
    Nothing,
}

/// How often each is tried, where it is possible.
const STEPS: [(u32, Step); 11] = [
    (9, Step::Syn),
    (9, Step::Accept),
    (8, Step::Ack),
    (8, Step::Data(1)),
    (2, Step::Again),
    (2, Step::Fin),
    (1, Step::Rst),
    (4, Step::Read(1)),
    (8, Step::Write(1)),
    (2, Step::Finish),
    (1, Step::Reset),
];

/// What anyone may know of a connection: RFC 9293 §3.3.2, by its streams.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Model {
    syn: bool,
    accepted: bool,
    /// Our SYN was acknowledged.
    opened: bool,
    /// RST came or went.
    reset: bool,
    /// Bytes that the app has sent, and whether FIN followed.
    sent: u32,
    app_fin: bool,
    read: u32,
    /// Bytes that the far side has written, and whether it has finished; before the app has?
    written: u32,
    finished: bool,
    ours_first: bool,
    /// Bytes that the app has acknowledged, and whether our FIN, too.
    acked: u32,
    fin_acked: bool,
}

/// What fits every buffer and window, so that nothing ever waits for them.
const MOST: u32 = 60_000;

impl Model {
    fn state(&self) -> State {
        match (self.finished, self.fin_acked, self.app_fin) {
            _ if !self.syn || self.reset => State::Closed,
            _ if !self.accepted => State::Held,
            _ if !self.opened => State::SynReceived,
            (false, _, false) => State::Established,
            (false, _, true) => State::CloseWait,
            (true, false, false) => State::FinWait1,
            (true, true, false) => State::FinWait2,
            // Not CLOSING: the app's FIN acknowledges ours.
            (true, false, true) => State::LastAck,
            (true, true, true) if self.ours_first && self.read < self.sent => State::TimeWait,
            (true, true, true) => State::Closed,
        }
    }

    /// Both directions have ended well.
    fn has_ended(&self) -> bool {
        self.fin_acked && self.app_fin
    }

    /// Nothing more will be heard of it.
    fn is_over(&self) -> bool {
        self.reset || self.has_ended() && self.read == self.sent
    }

    /// Accepted, and not at its end.
    fn is_live(&self) -> bool {
        self.accepted && !self.reset && !self.has_ended()
    }

    fn may_send(&self) -> bool {
        self.is_live() && self.opened && !self.app_fin
    }

    /// The app acknowledges all that has left by now.
    fn acknowledge(&mut self) {
        if self.opened {
            (self.acked, self.fin_acked) = (self.written, self.finished);
        }
        self.opened = true;
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(model: &Self) -> BoxedStrategy<Step> {
        let lengths = |most: u16, step: fn(u16) -> Step| (1..most).prop_map(step).boxed();
        let always = |step: &Step| Just(step.clone()).boxed();
        let mut possible = vec![(1, always(&Step::Nothing))];
        for (weight, example) in STEPS {
            if Self::preconditions(model, &example) {
                possible.push((
                    weight,
                    match example {
                        Step::Data(_) => lengths(4_000, Step::Data),
                        Step::Read(_) => lengths(9_000, Step::Read),
                        Step::Write(_) => lengths(9_000, Step::Write),
                        _ => always(&example),
                    },
                ));
            }
        }
        Union::new_weighted(possible).boxed()
    }

    fn preconditions(model: &Self, step: &Step) -> bool {
        let writes = model.is_live() && !model.finished;
        match step {
            Step::Syn => !model.syn,
            Step::Accept => model.syn && !model.accepted,
            Step::Ack | Step::Rst | Step::Reset => model.is_live(),
            Step::Data(len) => model.may_send() && model.sent + u32::from(*len) < MOST,
            Step::Again => model.is_live() && model.sent > 0,
            Step::Fin => model.may_send(),
            Step::Read(_) => !model.reset && model.read < model.sent,
            Step::Write(len) => writes && model.written + u32::from(*len) < MOST,
            Step::Finish => writes,
            Step::Nothing => true,
        }
    }

    fn apply(mut model: Self, step: &Step) -> Self {
        match step {
            Step::Syn => model.syn = true,
            Step::Accept => model.accepted = true,
            Step::Ack => model.acknowledge(),
            // What is old is answered, and its ACK not looked at.
            Step::Again | Step::Nothing => {}
            Step::Data(len) => {
                model.acknowledge();
                model.sent += u32::from(*len);
            }
            Step::Fin => {
                model.acknowledge();
                model.app_fin = true;
            }
            Step::Rst | Step::Reset => model.reset = true,
            Step::Read(len) => model.read = model.sent.min(model.read + u32::from(*len)),
            Step::Write(len) => model.written += u32::from(*len),
            Step::Finish => {
                model.finished = true;
                model.ours_first = !model.app_fin;
            }
        }
        model
    }
}

/// The engine, and what both ends have heard of each other.
struct Machine {
    bench: Bench,
    id: Option<FlowId>,
    /// Bytes that came out.
    heard: u32,
    /// Bytes that were read.
    read: u32,
    closed: bool,
}

impl Machine {
    fn id(&self) -> FlowId {
        self.id.expect("there was a SYN")
    }

    /// Reads on, up to there.
    fn read(&mut self, to: u32) {
        while self.read < to {
            let (now, max) = (self.bench.now, (to - self.read) as usize);
            let taken = self.bench.engine.read(now, self.id(), max).expect("what was sent");
            assert_pattern(self.read.into(), &taken);
            self.read += u32::try_from(taken.len()).unwrap();
        }
    }

    /// Takes what comes out; as nothing is lost, every byte comes once and in order.
    fn drain(&mut self) {
        let bytes = self.bench.out_bytes();
        assert_pattern(self.heard.into(), &bytes);
        self.heard += u32::try_from(bytes.len()).unwrap();
        let events = self.bench.events();
        self.closed |= events.iter().any(|event| matches!(event, Event::Closed { .. }));
    }
}

impl StateMachineTest for Machine {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(_: &Model) -> Self {
        let bench = Bench::new(Config::new());
        Self { bench, id: None, heard: 0, read: 0, closed: false }
    }

    /// `model` is what holds after the step.
    fn apply(mut machine: Self, model: &Model, step: Step) -> Self {
        let now = machine.bench.now;
        let number = 1 + model.acked + u32::from(model.fin_acked);
        let piece = |end: u32, len: u16| pattern((end - u32::from(len)).into(), len.into());
        match step {
            Step::Syn => machine.id = Some(machine.bench.opening(syn())),
            Step::Accept => machine.bench.engine.accept(now, machine.id()),
            Step::Ack => {
                let next = 1 + model.sent + u32::from(model.app_fin);
                machine.bench.app(ack(next, number));
            }
            Step::Data(len) => {
                let at = 1 + model.sent - u32::from(len);
                machine.bench.app(data(at, number, piece(model.sent, len)));
            }
            Step::Again => machine.bench.app(data(model.sent, number, piece(model.sent, 1))),
            Step::Fin => machine.bench.app(fin(1 + model.sent, number)),
            Step::Rst => machine.bench.app(rst(1 + model.sent + u32::from(model.app_fin))),
            Step::Read(_) => machine.read(model.read),
            Step::Nothing => {}
            Step::Write(len) => machine.bench.write(machine.id(), piece(model.written, len)),
            Step::Finish => machine.bench.finish(machine.id()),
            Step::Reset => machine.bench.engine.reset(now, machine.id()),
        }
        machine.drain();
        machine
    }

    fn check_invariants(machine: &Self, model: &Model) {
        let Some(id) = machine.id else { return };
        assert_eq!(machine.bench.state(id), model.state());
        assert_eq!(machine.closed, model.is_over());
        if model.opened && !model.reset {
            assert_eq!(machine.heard, model.written);
        }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_engine_is_what_the_model_says(sequential 1..60 => Machine);
}
