//! The demux against a model that keeps everything in one list and looks at all of it every time.

mod support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use pseudotcp_udp::{Config, Event, FlowId, Refusal};
use support::{Bench, SERVER, datagram};

const MAX_FLOWS: usize = 3;
const OPENING: usize = 2;
const QUEUE: usize = 4;
const IDLE: Duration = Duration::from_secs(20);
const MEMORY: Duration = Duration::from_secs(1);
/// What the configuration makes of a byte limit of zero: one datagram of the largest size.
const BYTES: usize = 65_527 + 32;

#[derive(Clone, Debug)]
enum Op {
    Send { app: u8, len: usize },
    Accept { app: u8 },
    Refuse { app: u8 },
    Read { app: u8 },
    Write { app: u8 },
    Close { app: u8 },
    Pass { millis: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let app = || 0..5u8;
    prop_oneof![
        6 => (app(), prop_oneof![0..20usize, 20_000..65_000usize]).prop_map(|(app, len)| Op::Send { app, len }),
        3 => app().prop_map(|app| Op::Accept { app }),
        1 => app().prop_map(|app| Op::Refuse { app }),
        3 => app().prop_map(|app| Op::Read { app }),
        1 => app().prop_map(|app| Op::Write { app }),
        1 => app().prop_map(|app| Op::Close { app }),
        2 => (0..15_000u64).prop_map(|millis| Op::Pass { millis }),
    ]
}

struct Flow {
    app: u8,
    open: bool,
    active: Instant,
    queue: Vec<Vec<u8>>,
}

impl Flow {
    fn bytes(&self) -> usize {
        self.queue.iter().map(|datagram| datagram.len() + 32).sum()
    }
}

/// Flows from the least to the most recently used.
#[derive(Default)]
struct Model {
    flows: Vec<Flow>,
    refused: HashMap<u8, Instant>,
}

impl Model {
    fn position(&self, app: u8) -> Option<usize> {
        self.flows.iter().position(|flow| flow.app == app)
    }

    fn touch(&mut self, app: u8) -> &mut Flow {
        let at = self.position(app).unwrap();
        let flow = self.flows.remove(at);
        self.flows.push(flow);
        self.flows.last_mut().unwrap()
    }

    fn send(&mut self, now: Instant, app: u8, payload: Vec<u8>) {
        if self.position(app).is_none() {
            if self.refused.get(&app).is_some_and(|&at| now < at + MEMORY) {
                return;
            }
            if self.flows.len() == MAX_FLOWS {
                let empty = self.flows.iter().position(|flow| flow.queue.is_empty());
                self.flows.remove(empty.unwrap_or(0));
            }
            self.flows.push(Flow { app, open: false, active: now, queue: Vec::new() });
        }
        let flow = self.touch(app);
        if flow.open {
            flow.active = now;
        }
        flow.queue.push(payload);
        let limit = if flow.open { QUEUE } else { OPENING };
        while flow.queue.len() > limit || flow.bytes() > BYTES {
            flow.queue.remove(0);
        }
        self.keep_the_byte_limit();
    }

    fn keep_the_byte_limit(&mut self) {
        while self.flows.iter().map(Flow::bytes).sum::<usize>() > BYTES {
            let flow = self.flows.iter_mut().find(|flow| !flow.queue.is_empty()).unwrap();
            flow.queue.remove(0);
            if flow.queue.is_empty() {
                let app = flow.app;
                self.touch(app);
            }
        }
    }

    fn read(&mut self, app: u8) -> Option<Vec<u8>> {
        let at = self.position(app)?;
        let flow = self.flows.get_mut(at).filter(|flow| flow.open && !flow.queue.is_empty())?;
        let datagram = flow.queue.remove(0);
        if flow.queue.is_empty() {
            self.touch(app);
        }
        Some(datagram)
    }

    fn remove(&mut self, app: u8) {
        self.flows.retain(|flow| flow.app != app);
    }
}

/// Both, and what the owner of the demux would remember.
struct Pair {
    bench: Bench,
    model: Model,
    ids: HashMap<u8, FlowId>,
    reads: u64,
    serial: u8,
}

impl Pair {
    fn new() -> Self {
        let config = Config::default()
            .max_flows(MAX_FLOWS)
            .opening_datagrams(OPENING)
            .queue_datagrams(QUEUE)
            .queue_bytes(0)
            .max_bytes(0)
            .idle_timeout(IDLE)
            .refusal_memory(MEMORY);
        let bench = Bench::new(config);
        Self { bench, model: Model::default(), ids: HashMap::new(), reads: 0, serial: 0 }
    }

    /// The id of an app's flow; a stale or foreign one where there is none.
    fn id(&mut self, app: u8) -> Option<FlowId> {
        self.ids.get(&app).copied()
    }

    fn apply(&mut self, op: &Op) {
        let now = self.bench.now;
        match *op {
            Op::Send { app, len } => {
                self.serial = self.serial.wrapping_add(1);
                let payload = vec![self.serial; len];
                self.bench.deliver(&datagram(&format!("10.0.0.{app}:9"), SERVER, &payload));
                self.model.send(now, app, payload);
            }
            Op::Accept { app } => {
                let Some(id) = self.id(app) else { return };
                self.bench.demux.accept(now, id);
                if let Some(flow) = self.model.flows.iter_mut().find(|f| f.app == app && !f.open) {
                    (flow.open, flow.active) = (true, now);
                }
            }
            Op::Refuse { app } => {
                let Some(id) = self.id(app) else { return };
                self.bench.demux.refuse(now, id, Refusal::Drop);
                if self.model.flows.iter().any(|flow| flow.app == app && !flow.open) {
                    self.model.remove(app);
                    self.model.refused.insert(app, now);
                }
            }
            Op::Read { app } => self.read(app),
            Op::Write { app } => {
                let Some(id) = self.id(app) else { return };
                self.bench.demux.write(now, id, "reply".into());
                if self.model.flows.iter().any(|flow| flow.app == app && flow.open) {
                    self.model.touch(app).active = now;
                }
            }
            Op::Close { app } => {
                let Some(id) = self.id(app) else { return };
                self.bench.demux.close(now, id, None);
                self.model.remove(app);
            }
            Op::Pass { millis } => {
                self.bench.pass(Duration::from_millis(millis));
                let now = self.bench.now;
                self.model.flows.retain(|flow| flow.active + IDLE > now);
            }
        }
    }

    fn read(&mut self, app: u8) {
        let Some(id) = self.id(app) else { return };
        let read = self.bench.demux.read(id);
        self.reads += u64::from(read.is_some());
        assert_eq!(read.map(|datagram| datagram.to_vec()), self.model.read(app));
    }

    /// Openings and closings alternate for every app, and tell which flows live.
    fn follow_events(&mut self) {
        for event in self.bench.events() {
            match event {
                Event::Opening { id, flow } => {
                    let std::net::IpAddr::V4(ip) = flow.source().ip() else { unreachable!() };
                    assert_eq!(self.ids.insert(ip.octets()[3], id), None);
                }
                Event::Closed { id } => {
                    let before = self.ids.len();
                    self.ids.retain(|_, other| *other != id);
                    assert_eq!(self.ids.len() + 1, before, "{id:?} was closed twice");
                }
                Event::Readable { .. } => {}
            }
        }
        self.bench.packets();
    }

    fn compare(&self) {
        let waiting: usize = self.model.flows.iter().map(|flow| flow.queue.len()).sum();
        let stats = self.bench.demux.stats();
        let dropped = stats.dropped_opening
            + stats.dropped_queue
            + stats.dropped_memory
            + stats.dropped_unread;
        assert_eq!(stats.datagrams_in, self.reads + dropped + waiting as u64);
        assert_eq!(self.bench.demux.flow_count(), self.model.flows.len());
        assert!(self.model.flows.iter().all(|flow| self.ids.contains_key(&flow.app)));
        assert_eq!(self.bench.demux.poll_timeout().is_none(), self.model.flows.is_empty());
    }
}

proptest! {
    #[test]
    fn the_demux_does_what_the_model_does(ops in vec(op(), 1..200)) {
        let mut pair = Pair::new();
        for op in &ops {
            pair.apply(op);
            pair.follow_events();
            pair.compare();
        }
        for app in 0..5 {
            while pair.model.flows.iter().any(|f| f.app == app && f.open && !f.queue.is_empty()) {
                pair.read(app);
            }
        }
    }
}
