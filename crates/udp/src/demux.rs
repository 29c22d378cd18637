use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::time::Instant;

use bytes::Bytes;
use pseudotcp_packet::{FlowKey, Packet, Protocol, Quote, Unreachable, build};

use crate::flow::{Flow, Phase};
use crate::idle::Idle;
use crate::refused::Refused;
use crate::table::Table;
use crate::train::Train;
use crate::{Config, Event, FlowId, Refusal, Stats};

/// What every link carries (RFC 791 §3.2, RFC 8200 §5).
const MIN_MTU_V4: u32 = 68;
const MIN_MTU_V6: u32 = 1_280;

/// Octets of the headers that are put before a reply.
const HEADERS_V4: usize = 20 + 8;
const HEADERS_V6: usize = 40 + 8;

/// A reply that no packet holds, or that the device does not carry and that is not to be cut.
struct TooBig;

/// Sorts the datagrams of apps into flows.
///
/// * **Happened**: [`handle_datagram`](Self::handle_datagram),
///   [`handle_unreachable`](Self::handle_unreachable), [`handle_too_big`](Self::handle_too_big),
///   [`handle_timeout`](Self::handle_timeout).
/// * **Commands**: [`accept`](Self::accept), [`refuse`](Self::refuse), [`read`](Self::read),
///   [`reject`](Self::reject), [`write`](Self::write), [`close`](Self::close). A stale or unfitting
///   id makes them no-ops.
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
    /// How many flows are neither accepted nor refused yet.
    opening: usize,
    /// Tells apart the packets that are cut for a narrow path.
    identification: u32,
    events: VecDeque<Event>,
    transmits: VecDeque<Packet>,
    /// Replies that may still be joined by others.
    train: Option<Train>,
    stats: Stats,
}

impl Demux {
    /// A demux without flows.
    pub fn new(config: Config) -> Self {
        Self {
            table: Table::new(),
            idle: Idle::default(),
            refused: Refused::new(config.refusal_memory),
            opening: 0,
            identification: 0,
            events: VecDeque::new(),
            transmits: VecDeque::new(),
            train: None,
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
        } else if self.opening >= self.config.max_opening {
            self.stats.dropped_flows += 1;
        } else {
            let id = self.open(now, key);
            self.receive(now, id, packet);
        }
    }

    /// An ICMP error says that a datagram which we sent found nobody: `quoted` is its five-tuple,
    /// whose destination is the app. The flow ends, and a next datagram of the app opens it anew.
    pub fn handle_unreachable(&mut self, quoted: &FlowKey) {
        if let Some(id) = self.table.find(&quoted.reversed())
            && self.end(id).is_some()
        {
            self.stats.flows_unwanted += 1;
        }
    }

    /// An ICMP error says that some link on the way to the app carries at most `mtu` octets at a time;
    /// `quoted` is the five-tuple of the datagram that was larger. Replies of that flow are cut to
    /// it from then on, or dropped where [`Config::fragment_replies`] is false.
    pub fn handle_too_big(&mut self, quoted: &FlowKey, mtu: u32) {
        let least = if quoted.is_ipv6() { MIN_MTU_V6 } else { MIN_MTU_V4 };
        if let Some(flow) =
            self.table.find(&quoted.reversed()).and_then(|id| self.table.get_mut(id))
        {
            let mtu = mtu.max(least);
            flow.path_mtu = Some(flow.path_mtu.map_or(mtu, |known| known.min(mtu)));
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
        let is_readable = flow.waiting() > 0;
        self.opening -= 1;
        if is_readable {
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

    /// A datagram that was read is larger than what can be carried, `max_payload` bytes. An app that
    /// asked not to have its datagrams fragmented hears the MTU that follows (RFC 1191 §4, RFC 4443
    /// §3.2); others hear nothing, as smaller fragments would not help them.
    pub fn reject(&mut self, id: FlowId, max_payload: usize) {
        let Some(flow) = self.open_flow(id).filter(|flow| flow.head.dont_fragment()) else {
            return;
        };
        let mtu = u32::try_from(flow.head.len() + max_payload).unwrap_or(u32::MAX);
        let error = flow.quote().map(|quote| quote.too_big(mtu));
        if error.is_some_and(|error| self.transmit(error)) {
            self.stats.too_bigs_out += 1;
        }
    }

    /// Sends one datagram to the app, whole or not at all: what becomes of one that does not fit the
    /// device's MTU says [`Config::fragment_replies`].
    pub fn write(&mut self, now: Instant, id: FlowId, payload: Bytes) {
        let refreshes = self.config.reply_refreshes;
        let Some(flow) = self.open_flow(id) else { return };
        let (reply, path_mtu) = (flow.key.reversed(), flow.path_mtu);
        if refreshes {
            flow.last_active = now;
            self.table.touch(id);
        }
        self.transmit_datagram(reply, payload, path_mtu);
    }

    /// The owner ends the flow, open or not. With a kind the app hears an ICMP error, remembered as
    /// a refusal is; without, the flow is forgotten and the next datagram opens it anew.
    ///
    /// The error quotes the datagram that the app sent last: whole as far as an error can where it
    /// still waits, its headers alone where it has left.
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
        self.transmits.pop_front().or_else(|| self.train.take()?.into_packet())
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
        let waiting = self.transmits.len() + usize::from(self.train.is_some());
        self.config.max_transmit.saturating_sub(waiting)
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
        self.opening += 1;
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
        }
        flow.head.take(packet);
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
        self.opening -= usize::from(!flow.is_open());
        self.stats.dropped_unread += flow.waiting() as u64;
        self.events.push_back(Event::Closed { id });
        Some(flow)
    }

    fn end_with(&mut self, now: Instant, id: FlowId, refusal: Refusal) {
        let Some(flow) = self.end(id) else { return };
        self.refused.remember(now, flow.key, refusal);
        self.answer(refusal, flow.quote());
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

    fn transmit_datagram(&mut self, flow: FlowKey, payload: Bytes, path_mtu: Option<u32>) {
        let bytes = payload.len();
        let mtu = path_mtu.map_or(self.config.mtu, |mtu| mtu.min(self.config.mtu)) as usize;
        let fits = bytes + if flow.is_ipv6() { HEADERS_V6 } else { HEADERS_V4 } <= mtu;
        let sent = match (fits, path_mtu) {
            (true, _) if self.config.super_datagrams => self.couple(flow, payload),
            (false, _) if !self.config.fragment_replies => Err(TooBig),
            (true, _) | (false, None) => self.transmit_whole(flow, payload),
            (false, Some(_)) => self.transmit_cut(flow, payload, mtu),
        };
        match sent {
            Ok(sent) => {
                self.stats.datagrams_out += u64::from(sent);
                self.stats.bytes_out += if sent { bytes as u64 } else { 0 };
            }
            Err(TooBig) => self.stats.dropped_too_big += 1,
        }
    }

    fn transmit_whole(&mut self, flow: FlowKey, payload: Bytes) -> Result<bool, TooBig> {
        let packet = build::datagram(flow.source(), flow.destination(), payload, None);
        packet.map(|packet| self.transmit(packet)).ok_or(TooBig)
    }

    /// Joins a reply to those before it, or begins a new train with it.
    fn couple(&mut self, flow: FlowKey, payload: Bytes) -> Result<bool, TooBig> {
        if self.train.as_mut().is_some_and(|train| train.push(flow, &payload)) {
            return Ok(true);
        }
        self.depart();
        if self.write_credit() > 0 {
            self.train = Train::new(flow, &payload);
        }
        if self.train.is_some() { Ok(true) } else { self.transmit_whole(flow, payload) }
    }

    /// Queues what fits a narrow path in place of a reply: all of it, or nothing.
    fn transmit_cut(&mut self, flow: FlowKey, payload: Bytes, mtu: usize) -> Result<bool, TooBig> {
        self.depart();
        let packet = build::datagram(flow.source(), flow.destination(), payload, None);
        self.identification = self.identification.wrapping_add(1);
        let pieces: Vec<_> = packet.ok_or(TooBig)?.fragments(mtu, self.identification).collect();
        let has_room = self.write_credit() >= pieces.len();
        if has_room {
            self.transmits.extend(pieces);
        } else {
            self.stats.dropped_transmit += 1;
        }
        Ok(has_room)
    }

    /// Queues the train as it is. Its room was counted when it began.
    fn depart(&mut self) {
        self.transmits.extend(self.train.take().and_then(Train::into_packet));
    }

    /// Queues a packet for the device; false where there is no room.
    fn transmit(&mut self, packet: Packet) -> bool {
        self.depart();
        let has_room = self.write_credit() > 0;
        if has_room {
            self.transmits.push_back(packet);
        } else {
            self.stats.dropped_transmit += 1;
        }
        has_room
    }
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
