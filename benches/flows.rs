//! The TCP engine with many flows: what a segment costs where traffic is spread over them, what idle
//! ones cost those beside them, and what repairing losses costs. Time is virtual.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pseudotcp_benches::{Peer, SEGMENT};
use pseudotcp_masque::MAX_CHUNK;
use pseudotcp_packet::Packet;
use pseudotcp_tcp::{Config, Engine, Event, FlowId};

/// How many segments arrive together.
const BATCH: usize = 32;
/// How much time passes between batches.
const STEP: Duration = Duration::from_millis(1);
/// After this the timer of a lost tail has fired.
const RETRANSMISSION: Duration = Duration::from_millis(400);
/// Of so many segments one is lost.
const LOSS: usize = 100;

/// An engine with open flows, of which the first ones are used in turn.
struct Crowd {
    engine: Engine,
    flows: Vec<(Peer, FlowId)>,
    busy: usize,
    turn: usize,
    now: Instant,
}

impl Crowd {
    fn new(busy: usize, idle: usize) -> Self {
        let now = begin();
        let count = busy + idle;
        let limit = u32::try_from(count + 1).expect("few");
        let engine = Engine::new(Config::default().max_flows(limit), [7; 16]);
        let mut crowd = Self { engine, flows: Vec::with_capacity(count), busy, turn: 0, now };
        for number in 0..count {
            crowd.open(u32::try_from(number).expect("few"));
        }
        crowd
    }

    fn open(&mut self, number: u32) {
        let mut peer = Peer::new(number);
        self.engine.handle_segment(self.now, &peer.syn());
        let Some(Event::Opening { id, .. }) = self.engine.poll_event() else {
            panic!("a SYN opens a flow");
        };
        self.engine.accept(self.now, id);
        peer.receive(&self.engine.poll_transmit(self.now).expect("a SYN-ACK"));
        self.engine.handle_segment(self.now, &peer.acknowledgement());
        while self.engine.poll_event().is_some() {}
        self.flows.push((peer, id));
    }

    /// A segment each of the next flows.
    fn batch(&mut self, payload: &Bytes) -> Vec<Packet> {
        (0..BATCH)
            .map(|_| {
                self.turn = (self.turn + 1) % self.busy;
                self.flows[self.turn].0.data(payload.clone())
            })
            .collect()
    }

    /// A batch arrives, is read, and is acknowledged; and time passes.
    fn up(&mut self, batch: &[Packet]) {
        self.pass();
        for packet in batch {
            self.engine.handle_segment(self.now, packet);
        }
        while let Some(event) = self.engine.poll_event() {
            let Event::Readable { id } = event else { continue };
            while self.engine.read(self.now, id, MAX_CHUNK).is_some() {}
        }
        while self.engine.poll_transmit(self.now).is_some() {}
    }

    /// How long a batch takes.
    fn timed_up(&mut self, payload: &Bytes) -> Duration {
        let batch = self.batch(payload);
        let begin = begin();
        self.up(&batch);
        begin.elapsed()
    }

    /// A chunk is written to the one busy flow, sent with losses, repaired and acknowledged.
    fn down(&mut self, chunk: Bytes, sent: &mut usize) {
        self.pass();
        let Self { engine, flows, now, .. } = self;
        let (peer, id) = &mut flows[0];
        engine.write(*now, *id, chunk);
        let (mut beyond, mut lost) = (None, false);
        loop {
            while let Some(packet) = engine.poll_transmit(*now) {
                *sent += 1;
                if (*sent).is_multiple_of(LOSS) {
                    lost = true;
                } else if peer.receive_around_gap(&packet, &mut beyond) {
                    lost = false;
                } else {
                    engine.handle_segment(*now, &peer.acknowledgement());
                }
            }
            if !lost {
                break;
            }
            *now += RETRANSMISSION;
            engine.handle_timeout(*now);
        }
        engine.handle_segment(*now, &peer.acknowledgement());
        while engine.poll_event().is_some() {}
    }

    fn pass(&mut self) {
        self.now += STEP;
        if self.engine.poll_timeout().is_some_and(|due| due <= self.now) {
            self.engine.handle_timeout(self.now);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "time begins somewhere, and is measured here")]
fn begin() -> Instant {
    Instant::now()
}

fn spread(c: &mut Criterion) {
    let payload = Bytes::from(vec![7; SEGMENT]);
    let mut group = c.benchmark_group("engine/flows");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (busy, idle) in [(10, 0), (10, 990), (1_000, 0), (100_000, 0)] {
        let crowd = RefCell::new(Crowd::new(busy, idle));
        group.bench_function(format!("{busy} busy, {idle} idle"), |b| {
            b.iter_batched(
                || crowd.borrow_mut().batch(&payload),
                |batch| crowd.borrow_mut().up(&batch),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// One flow alone and beside idle ones: a batch of each in turn, so that whatever else the machine does
/// meets both.
fn idle_neighbours(c: &mut Criterion) {
    let payload = Bytes::from(vec![7; SEGMENT]);
    let mut group = c.benchmark_group("engine/one flow");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut crowds = [Crowd::new(1, 0), Crowd::new(1, 100_000)];
    let mut spent = [Duration::ZERO; 2];
    for (counted, name) in ["alone", "beside 100,000 idle"].into_iter().enumerate() {
        group.bench_function(name, |b| {
            b.iter_custom(|batches| {
                let before = spent[counted];
                for _ in 0..batches {
                    for (crowd, spent) in crowds.iter_mut().zip(&mut spent) {
                        *spent += crowd.timed_up(&payload);
                    }
                }
                spent[counted].saturating_sub(before)
            });
        });
    }
    group.finish();
    let [alone, beside] = spent;
    println!("engine/one flow: beside 100,000 idle {:.3} of alone", alone.div_duration_f64(beside));
}

fn recovery(c: &mut Criterion) {
    let chunk = Bytes::from(vec![7; MAX_CHUNK]);
    let mut group = c.benchmark_group("engine/recovery");
    group.throughput(Throughput::Bytes(chunk.len() as u64));
    let (mut crowd, mut sent) = (Crowd::new(1, 0), 0);
    group.bench_function("1 % lost", |b| b.iter(|| crowd.down(chunk.clone(), &mut sent)));
    group.finish();
}

fn ping_pong(c: &mut Criterion) {
    let payload = Bytes::from(vec![7; 64]);
    let crowd = RefCell::new(Crowd::new(1, 0));
    c.bench_function("engine/ping-pong", |b| {
        b.iter_batched(
            || crowd.borrow_mut().flows[0].0.data(payload.clone()),
            |ping| {
                let mut crowd = crowd.borrow_mut();
                crowd.up(std::slice::from_ref(&ping));
                crowd.down(payload.clone(), &mut 0);
            },
            BatchSize::PerIteration,
        );
    });
}

criterion_group!(benches, spread, idle_neighbours, recovery, ping_pong);
criterion_main!(benches);
