mod admission;
mod eviction;
mod settle;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use pseudotcp_packet::{FlowKey, Packet, SeqNumber};

use crate::budget::Budget;
use crate::clock::{Clock, Time};
use crate::context::{Context, Outbox};
use crate::flow::{Arrival, Flow};
use crate::isn::{IsnGenerator, KeyedHash, Purpose};
use crate::refusals::Refusals;
use crate::segment::Segment;
use crate::table::Table;
use crate::time_wait::TimeWait;
use crate::timer::TimerQueue;
use crate::turn::Turns;
use crate::{CloseCause, Config, Event, FlowId, FlowInfo, Refusal, Stats};

/// So many flows before the end of their handshake are a crowd.
const CROWD: u32 = 64;

/// Many TCP flows between apps and somewhere else. It reads no clock and no socket: time and
/// packets are arguments.
///
/// * Things that happened: [`handle_segment`](Self::handle_segment),
///   [`handle_too_big`](Self::handle_too_big), [`handle_timeout`](Self::handle_timeout).
/// * Commands: [`accept`](Self::accept), [`refuse`](Self::refuse), [`read`](Self::read),
///   [`write_credit`](Self::write_credit), [`write`](Self::write), [`finish`](Self::finish),
///   [`reset`](Self::reset). An id whose flow is over makes them harmless no-ops.
/// * Outputs: [`poll_event`](Self::poll_event), [`poll_transmit`](Self::poll_transmit) and, after
///   both have returned `None`, [`poll_timeout`](Self::poll_timeout).
/// * Getters: [`stats`](Self::stats), [`flow_count`](Self::flow_count), [`flows`](Self::flows),
///   [`is_delivered`](Self::is_delivered), [`buffered`](Self::buffered).
///
/// Any number of inputs may precede one draining: segments that arrived together are acknowledged
/// together.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    clock: Clock,
    isn: IsnGenerator,
    table: Table,
    time_wait: TimeWait,
    refusals: Refusals,
    timers: TimerQueue<Time>,
    /// Acknowledgements that wait, and whose. All wait equally long, so they are in order, and no
    /// segment has to touch the ordered set.
    acks: VecDeque<(Time, u32)>,
    /// Slots of flows that may have to send something.
    dirty: VecDeque<u32>,
    /// Flows that wait for the budget.
    starved: VecDeque<FlowId>,
    turns: Turns,
    budget: Budget,
    /// Flows before the end of their handshake.
    opening: u32,
    outbox: Outbox,
    stats: Stats,
}

impl Engine {
    /// An engine without flows. `secret` keys its initial sequence numbers (RFC 6528) and its hash
    /// table: 16 random bytes that no one else knows.
    pub fn new(config: Config, secret: [u8; 16]) -> Self {
        let hash = KeyedHash::new(secret, Purpose::Table);
        Self {
            clock: Clock::default(),
            isn: IsnGenerator::new(secret),
            table: Table::new(hash.clone()),
            time_wait: TimeWait::new(hash.clone()),
            refusals: Refusals::new(hash),
            timers: TimerQueue::default(),
            acks: VecDeque::new(),
            dirty: VecDeque::new(),
            starved: VecDeque::new(),
            turns: Turns::new(config.turns as usize),
            budget: Budget::new(config.budget),
            opening: 0,
            outbox: Outbox::default(),
            stats: Stats::default(),
            config,
        }
    }

    /// A packet came from an app. What is not TCP is counted and dropped.
    pub fn handle_segment(&mut self, now: Instant, packet: &Packet) {
        let now = self.clock.time(now);
        self.stats.segments_in += 1;
        let Some(segment) = Segment::of(packet) else {
            self.stats.dropped += 1;
            return;
        };
        let arrival = match self.table.find(&segment.flow) {
            Some(slot) => self.with(now, slot, |flow, cx| flow.on_segment(cx, &segment)),
            None => Some(Arrival::Anew),
        };
        if arrival == Some(Arrival::Anew) {
            self.on_unknown(now, packet, &segment);
        }
    }

    /// An ICMP error says that a segment which we sent was larger than the `mtu` octets that some
    /// link on the way to the app can carry (RFC 1191, RFC 8201). `quoted` and `seq` are what the
    /// error quotes of that segment: its five-tuple, whose destination is the app, and its sequence
    /// number. An `mtu` of 0 is that of an old router which does not say.
    ///
    /// The flow sends smaller segments from then on, and those that were lost at once. Errors that
    /// do not quote what is in flight are counted and dropped (RFC 5927 §4.1).
    pub fn handle_too_big(&mut self, now: Instant, quoted: &FlowKey, seq: SeqNumber, mtu: u32) {
        let now = self.clock.time(now);
        match self.table.find(&quoted.reversed()) {
            Some(slot) => _ = self.with(now, slot, |flow, cx| flow.on_too_big(cx, seq, mtu)),
            None => self.stats.dropped += 1,
        }
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come. Too early a call is
    /// harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock.time(now);
        self.time_wait.expire(now);
        self.give_turns(now);
        while let Some((_, slot)) = self.acks.pop_front_if(|(due, _)| *due <= now) {
            self.with(now, slot, |flow, _| flow.on_ack_due());
        }
        while let Some(slot) = self.timers.pop_due(now) {
            if let Some(flow) = self.table.get_mut(slot) {
                flow.ledger.armed = None;
            }
            self.with(now, slot, Flow::on_timeout);
        }
    }

    /// The far side is open: the held SYN is answered with SYN-ACK, if that has not left by
    /// [`Config::early_accept`].
    pub fn accept(&mut self, now: Instant, id: FlowId) {
        self.command(now, id, |flow, _| flow.accept());
    }

    /// The far side cannot be opened: the held SYN is answered as `refusal` says, and so is the same
    /// SYN for 1.5 s after. Where SYN-ACK has left by [`Config::early_accept`] the answer is RST.
    pub fn refuse(&mut self, now: Instant, id: FlowId, refusal: Refusal) {
        let held = self.command(now, id, |flow, cx| {
            let held = flow.held_syn();
            flow.refuse(cx, refusal);
            held
        });
        if let Some((key, isn)) = held.flatten()
            && !matches!(refusal, Refusal::Later { .. })
        {
            let now = self.clock.time(now);
            self.refusals.remember(now, key, isn, refusal);
        }
    }

    /// The next bytes of the app, at most `max` of them and in one piece; `None` when none wait.
    /// Taking them reopens the app's window.
    pub fn read(&mut self, now: Instant, id: FlowId, max: usize) -> Option<Bytes> {
        self.command(now, id, |flow, cx| flow.read(cx, max)).flatten()
    }

    /// How many bytes [`write`](Self::write) has room for. After a 0,
    /// [`Event::Writable`] says when there is room again.
    pub fn write_credit(&mut self, now: Instant, id: FlowId) -> usize {
        let Some(slot) = self.table.resolve(id) else { return 0 };
        let now = self.clock.time(now);
        let (table, cx) = self.split(now);
        let credit = table.get_mut(slot).map_or(0, |flow| flow.write_credit(&cx));
        self.note_starved(slot);
        credit
    }

    /// Bytes for the app, kept until it acknowledges them: by reference from 4 KiB on, and those must
    /// not be slices of buffers larger than 16 KiB or the item itself. An item of at most 64 KiB that is larger
    /// than the credit is taken whole, so ask for the credit before each; who never asks loses the
    /// flow ([`CloseCause::Evicted`]) when the budget is exhausted. Before
    /// [`accept`](Self::accept), and after [`finish`](Self::finish), it is dropped.
    pub fn write(&mut self, now: Instant, id: FlowId, data: Bytes) {
        self.command(now, id, |flow, cx| flow.write(cx, data));
    }

    /// Whether the app has acknowledged all that was written, and FIN after
    /// [`finish`](Self::finish). True for an id whose flow is over.
    pub fn is_delivered(&self, id: FlowId) -> bool {
        let flow = self.table.resolve(id).and_then(|slot| self.table.get(slot));
        flow.is_none_or(Flow::is_delivered)
    }

    /// No more bytes for the app: FIN after all that was written. Before
    /// [`accept`](Self::accept) it is ignored.
    pub fn finish(&mut self, now: Instant, id: FlowId) {
        self.command(now, id, |flow, _| flow.finish());
    }

    /// Ends the flow with RST, at once and both ways.
    ///
    /// RFC 2525 §2.17: so must end whoever has acknowledged bytes that it cannot deliver.
    pub fn reset(&mut self, now: Instant, id: FlowId) {
        self.command(now, id, |flow, cx| flow.abort(cx, CloseCause::Aborted));
    }

    /// The next packet for an app.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Packet> {
        let now = self.clock.time(now);
        let packet = self.outbox.replies.pop_front().or_else(|| self.poll_flows(now));
        self.stats.segments_out += u64::from(packet.is_some());
        packet
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.outbox.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; `None` when nothing can
    /// time out.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let flows = self.timers.first().map(|(deadline, _)| deadline);
        let acks = self.acks.front().map(|&(due, _)| due);
        let own = [flows, acks, self.turns.review(), self.time_wait.next_expiry()];
        let first = own.into_iter().flatten().min();
        first.and_then(|time| self.clock.instant(time))
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How many flows there are, those being opened included.
    pub fn flow_count(&self) -> usize {
        self.table.len()
    }

    /// The memory that the buffers of all flows keep alive, in bytes; never more than
    /// [`Config::budget`]. What apps send counts with the buffer that it came in
    /// ([`Packet::pinned`]). Of what is written, items below 4 KiB are copied, and longer ones count
    /// as 16 KiB at least, as they may be slices of buffers of that size.
    pub fn buffered(&self) -> usize {
        self.config.budget - self.budget.left()
    }

    /// The flow table, in no particular order.
    pub fn flows(&self) -> impl Iterator<Item = FlowInfo> {
        self.table.iter().map(Flow::info)
    }

    fn poll_flows(&mut self, now: Time) -> Option<Packet> {
        while let Some(&slot) = self.dirty.front() {
            let live = self.table.get(slot).is_some_and(|flow| flow.ledger.queued);
            if live && let Some(packet) = self.with(now, slot, Flow::poll_transmit).flatten() {
                return Some(packet);
            }
            self.dirty.pop_front();
            if let Some(flow) = self.table.get_mut(slot) {
                flow.ledger.queued = false;
            }
        }
        None
    }

    fn command<R>(
        &mut self,
        now: Instant,
        id: FlowId,
        act: impl FnOnce(&mut Flow, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let slot = self.table.resolve(id)?;
        let now = self.clock.time(now);
        self.with(now, slot, act)
    }

    /// Lets something happen to a flow, then sees to what follows from it.
    fn with<R>(
        &mut self,
        now: Time,
        slot: u32,
        act: impl FnOnce(&mut Flow, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let (table, mut cx) = self.split(now);
        let result = act(table.get_mut(slot)?, &mut cx);
        self.settle(now, slot);
        self.relieve(now);
        self.give_turns(now);
        Some(result)
    }

    /// The flows, and beside them what they may see of everything else.
    fn split(&mut self, now: Time) -> (&mut Table, Context<'_>) {
        let cx = Context {
            now,
            config: &self.config,
            room: self.budget.room(),
            left: self.budget.left(),
            crowded: self.opening > CROWD || self.turns.is_crowded(),
            turns: &mut self.turns,
            stats: &mut self.stats,
            outbox: &mut self.outbox,
        };
        (&mut self.table, cx)
    }
}
