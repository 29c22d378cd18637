use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::time::Instant;

use bytes::Bytes;
use pseudotcp_packet::{FlowKey, Packet, Protocol, Quote, Unreachable, build};

use crate::flow::{Flow, Phase};
use crate::idle::Idle;
use crate::refused::Refused;
use crate::table::Table;
use crate::{Config, Event, FlowId, Refusal, Stats};

/// Sorts the datagrams of apps into flows.
///
/// * **Happened**: [`handle_datagram`](Self::handle_datagram),
///   [`handle_timeout`](Self::handle_timeout).
/// * **Commands**: [`accept`](Self::accept), [`refuse`](Self::refuse), [`read`](Self::read),
///   [`write`](Self::write), [`close`](Self::close). A stale or unfitting id makes them no-ops.
/// * **Outputs**: [`poll_transmit`](Self::poll_transmit), [`poll_event`](Self::poll_event),
///   [`poll_timeout`](Self::poll_timeout). After anything of the above drain the first two until
///   they return nothing, then ask for the next time to call `handle_timeout`. No output waits for
///   another.
/// * **State**: [`flow_count`](Self::flow_count), [`write_credit`](Self::write_credit),
///   [`stats`](Self::stats).
#[derive(Debug)]
pub struct Demux {
    config: Config,
    table: Table,
    idle: Idle,
    refused: Refused,
    events: VecDeque<Event>,
    transmits: VecDeque<Packet>,
    stats: Stats,
}

impl Demux {
    /// A demux without flows.
    pub fn new(config: Config) -> Self {
        Self {
            table: Table::new(),
            idle: Idle::default(),
            refused: Refused::new(config.refusal_memory),
            events: VecDeque::new(),
            transmits: VecDeque::new(),
            stats: Stats::default(),
            config,
        }
    }

    /// A packet came from an app. A super-datagram counts as the datagrams it is made of.
    ///
    /// What is no whole UDP datagram is counted and ignored.
    pub fn handle_datagram(&mut self, now: Instant, packet: &Packet) {
        let Some(key) = packet.flow().filter(|flow| flow.protocol() == Protocol::Udp) else {
            self.stats.ignored += 1;
            return;
        };
        if let Some(id) = self.table.find(&key) {
            self.receive(now, id, packet);
        } else if let Some(refusal) = self.refused.get(now, &key) {
            self.stats.refused_again += 1;
            self.answer(refusal, Quote::of(packet));
        } else {
            let id = self.open(now, key);
            self.receive(now, id, packet);
        }
    }

    /// Time has passed: flows without traffic for their idle timeout end.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(id) = self.idle.take_due(now) {
            let Some(flow) = self.table.get_mut(id) else { continue };
            flow.armed = None;
            match self.expiry(id) {
                Some(expiry) if expiry <= now => {
                    self.stats.flows_expired += 1;
                    self.end(id);
                }
                _ => self.arm(id),
            }
        }
    }

    /// The flow is open: what waits may be read, and replies written.
    pub fn accept(&mut self, now: Instant, id: FlowId) {
        let Some(flow) = self.opening(id) else { return };
        flow.phase = Phase::Open;
        flow.last_active = now;
        if flow.waiting() > 0 {
            self.events.push_back(Event::Readable { id });
        }
    }

    /// The flow could not be opened. The app hears the refusal now, and again without a new
    /// [`Event::Opening`] for what it sends while the refusal is remembered.
    pub fn refuse(&mut self, now: Instant, id: FlowId, refusal: Refusal) {
        if self.opening(id).is_none() {
            return;
        }
        self.stats.flows_refused += 1;
        self.end_with(now, id, refusal);
    }

    /// Takes the oldest datagram that waits in an accepted flow.
    pub fn read(&mut self, id: FlowId) -> Option<Bytes> {
        self.open_flow(id)?;
        self.table.pop(id)
    }

    /// Sends one datagram to the app, whole or not at all: what becomes of one that does not fit the
    /// device's MTU says [`Config::fragment_replies`].
    pub fn write(&mut self, now: Instant, id: FlowId, payload: Bytes) {
        let refreshes = self.config.reply_refreshes;
        let Some(flow) = self.open_flow(id) else { return };
        let reply = flow.key.reversed();
        if refreshes {
            flow.last_active = now;
            self.table.touch(id);
        }
        self.transmit_datagram(reply, payload);
    }

    /// The owner ends the flow, open or not. With a kind the app hears an ICMP error, remembered as
    /// a refusal is; without, the flow is forgotten and the next datagram opens it anew.
    ///
    /// The error quotes the datagram that the app sent last, or, where datagrams have come since
    /// the flow was accepted, an empty one of the same five-tuple: keeping a copy of every datagram
    /// that has long left would cost more than its recipient, a socket, would make of it.
    pub fn close(&mut self, now: Instant, id: FlowId, unreachable: Option<Unreachable>) {
        if self.table.get(id).is_none() {
            return;
        }
        self.stats.flows_closed += 1;
        match unreachable {
            Some(kind) => self.end_with(now, id, Refusal::Unreachable(kind)),
            None => drop(self.end(id)),
        }
    }

    /// The next packet for the device.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Packet> {
        self.transmits.pop_front()
    }

    /// The next thing that the owner has to know.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next; nothing without flows.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.idle.next()
    }

    /// How many flows there are.
    pub fn flow_count(&self) -> usize {
        self.table.len()
    }

    /// How many datagrams [`write`](Self::write) takes before
    /// [`poll_transmit`](Self::poll_transmit) must be called.
    pub fn write_credit(&self) -> usize {
        self.config.max_transmit.saturating_sub(self.transmits.len())
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }
}

/// The way of a datagram from the app.
impl Demux {
    fn open(&mut self, now: Instant, key: FlowKey) -> FlowId {
        if self.table.len() >= self.config.max_flows
            && let Some(oldest) = self.table.oldest()
        {
            self.stats.flows_evicted += 1;
            self.end(oldest);
        }
        let id = self.table.insert(key, now);
        self.arm(id);
        self.stats.flows_opened += 1;
        self.events.push_back(Event::Opening { id, flow: key });
        id
    }

    fn receive(&mut self, now: Instant, id: FlowId, packet: &Packet) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let (is_open, was_empty) = (flow.is_open(), flow.waiting() == 0);
        if is_open {
            flow.last_active = now;
            flow.quote = None;
        } else {
            flow.quote = Quote::of(packet);
        }
        self.table.touch(id);
        for datagram in datagrams(payload(packet), packet.segment_size()) {
            self.stats.datagrams_in += 1;
            self.stats.bytes_in += datagram.len() as u64;
            self.enqueue(id, is_open, datagram);
        }
        if is_open && was_empty {
            self.events.push_back(Event::Readable { id });
        }
    }

    fn enqueue(&mut self, id: FlowId, is_open: bool, datagram: Bytes) {
        if is_open {
            self.table.push(id, datagram);
            self.stats.dropped_queue += self.shorten(id, self.config.queue_datagrams);
        } else {
            // An opening may take long: what waits for it does not pin the device's buffer.
            self.table.push(id, Bytes::copy_from_slice(&datagram));
            self.stats.dropped_opening += self.shorten(id, self.config.opening_datagrams);
        }
        while self.table.waiting_bytes() > self.config.max_bytes
            && let Some(oldest) = self.table.oldest_holding()
        {
            self.table.pop(oldest);
            self.stats.dropped_memory += 1;
        }
    }

    /// Drops the oldest datagrams of a flow until it keeps its limits; how many.
    fn shorten(&mut self, id: FlowId, datagrams: usize) -> u64 {
        let mut dropped = 0;
        while let Some(flow) = self.table.get(id)
            && (flow.waiting() > datagrams || flow.waiting_bytes() > self.config.queue_bytes)
        {
            self.table.pop(id);
            dropped += 1;
        }
        dropped
    }
}

/// The ends of flows, and what leaves for the device.
impl Demux {
    fn opening(&mut self, id: FlowId) -> Option<&mut Flow> {
        self.table.get_mut(id).filter(|flow| !flow.is_open())
    }

    fn open_flow(&mut self, id: FlowId) -> Option<&mut Flow> {
        self.table.get_mut(id).filter(|flow| flow.is_open())
    }

    fn end(&mut self, id: FlowId) -> Option<Flow> {
        let flow = self.table.remove(id)?;
        if let Some(at) = flow.armed {
            self.idle.disarm(at, id);
        }
        self.stats.dropped_unread += flow.waiting() as u64;
        self.events.push_back(Event::Closed { id });
        Some(flow)
    }

    fn end_with(&mut self, now: Instant, id: FlowId, refusal: Refusal) {
        let Some(flow) = self.end(id) else { return };
        self.refused.remember(now, flow.key, refusal);
        self.answer(refusal, flow.quote.or_else(|| quote_tuple(&flow.key)));
    }

    /// When a flow's idle timeout is over; nothing where it never is.
    fn expiry(&self, id: FlowId) -> Option<Instant> {
        let flow = self.table.get(id)?;
        let port = flow.key.destination().port();
        flow.last_active.checked_add(self.config.idle_timeout_of(port))
    }

    fn arm(&mut self, id: FlowId) {
        let Some(expiry) = self.expiry(id) else { return };
        self.idle.arm(expiry, id);
        if let Some(flow) = self.table.get_mut(id) {
            flow.armed = Some(expiry);
        }
    }

    fn answer(&mut self, refusal: Refusal, quote: Option<Quote>) {
        if let (Refusal::Unreachable(kind), Some(quote)) = (refusal, quote)
            && self.transmit(quote.unreachable(kind))
        {
            self.stats.unreachables_out += 1;
        }
    }

    fn transmit_datagram(&mut self, flow: FlowKey, payload: Bytes) {
        let bytes = payload.len() as u64;
        let packet = build::datagram(flow.source(), flow.destination(), payload, None);
        let fits = |packet: &Packet| packet.total_len() <= self.config.mtu as usize;
        let packet = packet.filter(|packet| self.config.fragment_replies || fits(packet));
        let Some(packet) = packet else {
            self.stats.dropped_too_big += 1;
            return;
        };
        if self.transmit(packet) {
            self.stats.datagrams_out += 1;
            self.stats.bytes_out += bytes;
        }
    }

    /// Queues a packet for the device; false where there is no room.
    fn transmit(&mut self, packet: Packet) -> bool {
        let has_room = self.write_credit() > 0;
        if has_room {
            self.transmits.push_back(packet);
        } else {
            self.stats.dropped_transmit += 1;
        }
        has_room
    }
}

/// Stands for the latest datagram of a flow where there is no copy of it.
fn quote_tuple(flow: &FlowKey) -> Option<Quote> {
    build::datagram(flow.source(), flow.destination(), Bytes::new(), None)
        .as_ref()
        .and_then(Quote::of)
}

/// A packet's payload in one piece; copied only where the device brought it in several.
fn payload(packet: &Packet) -> Bytes {
    match packet.body() {
        [whole] => whole.clone(),
        slices => slices.concat().into(),
    }
}

/// Cuts a super-datagram; without a segment size there is exactly one datagram, which may be empty.
fn datagrams(payload: Bytes, segment_size: Option<NonZeroU16>) -> impl Iterator<Item = Bytes> {
    let size = segment_size.map_or(usize::MAX, |size| usize::from(size.get()));
    let mut rest = Some(payload);
    std::iter::from_fn(move || {
        let mut datagram = rest.take()?;
        if datagram.len() > size {
            rest = Some(datagram.split_off(size));
        }
        Some(datagram)
    })
}
