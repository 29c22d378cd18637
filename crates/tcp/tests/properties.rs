//! Arbitrary segments, commands and pauses: whatever happens, the invariants hold.

mod common;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use common::bench::Bench;
use common::pattern;
use proptest::prelude::*;
use pseudotcp_packet::build::TcpSegment;
use pseudotcp_packet::{
    FlowKey, Packet, SackBlocks, SeqNumber, TcpFlags, TcpOptions, Timestamps, Transport,
    Unreachable,
};
use pseudotcp_tcp::{Config, Event, FlowId, Refusal, State};

const BUDGET: usize = 1024 * 1024;
/// Where the app's numbers begin: close to the wrap-around.
const IRS: SeqNumber = SeqNumber::new(u32::MAX - 3_000);

/// What is done to the engine; numbers are relative and near each other, so that many fit.
#[derive(Clone, Debug)]
enum Step {
    Segment {
        port: u8,
        flags: u8,
        seq: i32,
        ack: i32,
        window: u16,
        len: u16,
        options: Options,
    },
    /// What a well-behaved app would send next.
    Expected {
        port: u8,
        len: u16,
        fin: bool,
    },
    Accept,
    Refuse(u8),
    Read(u16),
    Write(u16),
    Finish,
    Reset,
    Pause(u32),
    Drain,
}

#[derive(Clone, Debug)]
struct Options {
    scale: Option<u8>,
    sack_permitted: bool,
    timestamps: Option<(u32, u32)>,
    sack: Vec<(i32, i32)>,
}

fn options() -> impl Strategy<Value = Options> {
    (
        proptest::option::of(0_u8..16),
        any::<bool>(),
        proptest::option::weighted(0.2, (0_u32..50, any::<u32>())),
        prop::collection::vec((-9_i32..3_000, -9_i32..3_000), 0..3),
    )
        .prop_map(|(scale, sack_permitted, timestamps, sack)| Options {
            scale,
            sack_permitted,
            timestamps,
            sack,
        })
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![
        4 => Just(TcpFlags::ACK.bits()),
        2 => Just(TcpFlags::SYN.bits()),
        1 => Just((TcpFlags::ACK | TcpFlags::FIN).bits()),
        1 => any::<u8>(),
    ];
    let near = || prop_oneof![-3_i32..4, -2_000_i32..9_000];
    prop_oneof![
        4 => (0_u8..3, flags, near(), near(), any::<u16>(), 0_u16..3_000, options()).prop_map(
            |(port, flags, seq, ack, window, len, options)|
                Step::Segment { port, flags, seq, ack, window, len, options }
        ),
        6 => (0_u8..3, 0_u16..30_000, proptest::bool::weighted(0.05))
            .prop_map(|(port, len, fin)| Step::Expected { port, len, fin }),
        3 => Just(Step::Accept),
        1 => (0_u8..3).prop_map(Step::Refuse),
        3 => any::<u16>().prop_map(Step::Read),
        4 => (1_u16..20_000).prop_map(Step::Write),
        1 => Just(Step::Finish),
        1 => proptest::bool::weighted(0.2).prop_map(|yes| if yes { Step::Reset } else { Step::Drain }),
        2 => (0_u32..3_000).prop_map(Step::Pause),
        4 => Just(Step::Drain),
    ]
}

/// An engine, and what an outsider knows about it.
struct Model {
    bench: Bench,
    live: HashMap<FlowId, u16>,
    dead: HashSet<FlowId>,
    /// By port: the app's next number, our first and next number as the app has seen them, the
    /// furthest right edge offered to us.
    apps: HashMap<u16, App>,
}

#[derive(Clone, Copy, Default)]
struct App {
    next: SeqNumber,
    ours: Option<SeqNumber>,
    shift: u8,
    edge: Option<SeqNumber>,
}

impl Model {
    fn new() -> Self {
        let config = Config::new().budget(BUDGET).receive_buffer(200_000).send_buffer(300_000);
        let bench = Bench::new(config.max_segment_bytes(65_535));
        Self { bench, live: HashMap::new(), dead: HashSet::new(), apps: HashMap::new() }
    }

    fn apply(&mut self, step: Step) {
        let now = self.bench.now;
        let ids: Vec<FlowId> = self.live.keys().copied().collect();
        match step {
            Step::Segment { port, flags, seq, ack, window, len, options } => {
                self.segment(port, flags, (seq, ack), window, len, &options);
            }
            Step::Expected { port, len, fin } => self.expected(port, len, fin),
            Step::Accept => ids.iter().for_each(|id| self.bench.engine.accept(now, *id)),
            Step::Refuse(how) => ids.iter().take(1).for_each(|id| {
                let refusal = match how {
                    0 => Refusal::Reset,
                    1 => Refusal::Unreachable(Unreachable::Host),
                    _ => Refusal::Later { after: Duration::from_secs(2) },
                };
                self.bench.engine.refuse(now, *id, refusal);
            }),
            Step::Read(max) => ids.iter().for_each(|id| {
                let read = self.bench.engine.read(now, *id, max.into());
                assert!(read.is_none_or(|data| !data.is_empty() && data.len() <= max.into()));
            }),
            Step::Write(len) => ids.iter().for_each(|id| {
                if self.bench.engine.write_credit(self.bench.now, *id) > 0 {
                    self.bench.engine.write(now, *id, pattern(0, len.into()));
                }
            }),
            Step::Finish => ids.iter().for_each(|id| self.bench.engine.finish(now, *id)),
            Step::Reset => ids.iter().take(1).for_each(|id| self.bench.engine.reset(now, *id)),
            Step::Pause(millis) => self.bench.after_ms(millis.into()),
            Step::Drain => self.drain(),
        }
        self.events();
        self.check();
    }

    fn flow(&mut self, port: u8) -> FlowKey {
        self.bench.port = 1 + u16::from(port);
        self.bench.flow()
    }

    fn segment(
        &mut self,
        port: u8,
        flags: u8,
        (seq, ack): (i32, i32),
        window: u16,
        len: u16,
        options: &Options,
    ) {
        let flow = self.flow(port);
        let app = self.apps.get(&flow.source().port()).copied().unwrap_or_default();
        let ours = app.ours.unwrap_or_default();
        let near = |base: SeqNumber, by: i32| base.advance(by.cast_unsigned());
        let flags = TcpFlags::from(flags);
        let base = if flags.contains(TcpFlags::SYN) { IRS } else { app.next };
        let sack: SackBlocks =
            options.sack.iter().map(|&(from, to)| (near(ours, from), near(ours, to))).collect();
        let segment = TcpSegment {
            flow,
            seq: near(base, seq),
            ack: flags.contains(TcpFlags::ACK).then(|| near(ours, ack)),
            flags,
            window,
            options: TcpOptions {
                mss: Some(window),
                window_scale: options.scale,
                sack_permitted: options.sack_permitted,
                timestamps: options.timestamps.map(|(value, echo)| Timestamps { value, echo }),
                sack,
            },
            segment_size: None,
        };
        self.send(&segment, len);
        if flags.contains(TcpFlags::SYN) {
            // Whatever was offered before may be void now.
            self.apps.entry(flow.source().port()).or_default().edge = None;
        }
    }

    fn expected(&mut self, port: u8, len: u16, fin: bool) {
        let flow = self.flow(port);
        let app = self.apps.get(&flow.source().port()).copied().unwrap_or_default();
        let opened = app.ours.is_some();
        let segment = TcpSegment {
            flow,
            seq: if opened { app.next } else { IRS },
            ack: app.ours,
            flags: match (opened, fin) {
                (false, _) => TcpFlags::SYN,
                (true, true) => TcpFlags::FIN,
                (true, false) => TcpFlags::empty(),
            },
            window: u16::MAX,
            options: TcpOptions { window_scale: (!opened).then_some(7), ..TcpOptions::default() },
            segment_size: None,
        };
        self.send(&segment, if opened { len } else { 0 });
    }

    fn send(&mut self, segment: &TcpSegment, len: u16) {
        let packet = segment.build(pattern(0, len.into()));
        let whole = packet.segments().next().unwrap().to_bytes();
        self.bench.engine.handle_segment(self.bench.now, &Packet::parse(whole).unwrap());
    }

    /// Takes all packets; the app learns from them.
    fn drain(&mut self) {
        while let Some(packet) = self.bench.engine.poll_transmit(self.bench.now) {
            let Transport::Tcp(tcp) = packet.transport() else { continue };
            assert!(packet.total_len() <= 65_535 && packet.body().len() <= 16);
            assert!(!tcp.flags().contains(TcpFlags::RST) || packet.payload_len() == 0);
            let app = self.apps.entry(tcp.destination_port()).or_default();
            if tcp.flags().contains(TcpFlags::RST) {
                app.ours = None;
            } else if tcp.flags().contains(TcpFlags::SYN) {
                *app = App { shift: tcp.options().window_scale.unwrap_or(0), ..App::default() };
                (app.next, app.ours) = (tcp.ack(), Some(tcp.seq().advance(1)));
            } else {
                let end = tcp.seq().advance(u32::try_from(packet.payload_len()).unwrap());
                app.ours = Some(end.advance(u32::from(tcp.flags().contains(TcpFlags::FIN))));
                app.next = tcp.ack();
                let edge = tcp.ack().advance(u32::from(tcp.window()) << app.shift);
                let unit = 1 << app.shift;
                let back = app.edge.map_or(0, |old| edge.offset_from(old));
                assert!(back > -unit, "the window was shrunk by {back}");
                app.edge = Some(edge);
            }
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.bench.engine.poll_event() {
            let (Event::Opening { id, .. }
            | Event::Readable { id }
            | Event::Writable { id }
            | Event::Finished { id }
            | Event::Expired { id }
            | Event::Closed { id, .. }) = event;
            assert!(!self.dead.contains(&id), "{event:?} after its end");
            match event {
                Event::Opening { flow, .. } => {
                    self.live.insert(id, flow.source().port());
                }
                Event::Closed { .. } => {
                    self.live.remove(&id).expect("a flow that was opened");
                    self.dead.insert(id);
                }
                _ => assert!(self.live.contains_key(&id)),
            }
        }
    }

    fn check(&mut self) {
        let engine = &self.bench.engine;
        assert!(engine.buffered() <= BUDGET);
        let held: usize = engine.flows().map(|info| info.unread + info.unacknowledged).sum();
        assert!(held <= engine.buffered(), "every byte is charged");
        assert_eq!(engine.flow_count(), self.live.len());
        assert!(engine.flows().all(|info| self.live.contains_key(&info.id)));
        assert_eq!(
            engine.flow_count() > 0,
            engine.poll_timeout().is_some() && engine.flow_count() > 0
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn d11_whatever_happens_the_invariants_hold(steps in prop::collection::vec(step(), 1..120)) {
        let mut model = Model::new();
        for step in steps {
            model.apply(step);
        }
        // In the end every flow ends by itself, and nothing stays armed.
        for _ in 0..40 {
            model.drain();
            model.bench.after(Duration::from_mins(125));
            let ids: Vec<FlowId> = model.live.keys().copied().collect();
            for id in ids {
                model.bench.engine.read(model.bench.now, id, usize::MAX);
            }
            model.events();
        }
        model.drain();
        prop_assert_eq!(model.bench.engine.flow_count(), 0);
        prop_assert_eq!(model.bench.engine.buffered(), 0);
        prop_assert_eq!(model.bench.engine.poll_timeout(), None);
        prop_assert!(model.bench.engine.flows().all(|info| info.state == State::Closed));
    }
}
