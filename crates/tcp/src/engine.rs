use std::time::Instant;

use bytes::Bytes;
use pseudotcp_packet::Packet;

use crate::{Config, Event, FlowId, FlowInfo, Refusal, Stats};

/// Many TCP flows between apps and somewhere else. It reads no clock and no socket: time and
/// packets are arguments.
///
/// * Things that happened: [`handle_segment`](Self::handle_segment),
///   [`handle_timeout`](Self::handle_timeout).
/// * Commands: [`accept`](Self::accept), [`refuse`](Self::refuse), [`read`](Self::read),
///   [`write_credit`](Self::write_credit), [`write`](Self::write), [`finish`](Self::finish),
///   [`reset`](Self::reset). An id whose flow is over makes them harmless no-ops.
/// * Outputs: [`poll_event`](Self::poll_event), [`poll_transmit`](Self::poll_transmit) and, after
///   both have returned `None`, [`poll_timeout`](Self::poll_timeout).
/// * Getters: [`stats`](Self::stats), [`flow_count`](Self::flow_count), [`flows`](Self::flows).
///
/// Any number of inputs may precede one draining: segments that arrived together are acknowledged
/// together.
#[derive(Debug)]
pub struct Engine {
    stats: Stats,
}

impl Engine {
    /// An engine without flows. `secret` keys its initial sequence numbers (RFC 6528) and its hash
    /// table: 16 random bytes that no one else knows.
    pub fn new(config: Config, secret: [u8; 16]) -> Self {
        let _ = (config, secret);
        Self { stats: Stats::default() }
    }

    /// A packet came from an app. What is not TCP is counted and dropped.
    pub fn handle_segment(&mut self, now: Instant, packet: &Packet) {
        let _ = (now, packet);
        self.stats.segments_in += 1;
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come. Too early a call is
    /// harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
        self.stats.timeouts += 0;
    }

    /// The far side is open: the held SYN is answered with SYN-ACK.
    pub fn accept(&mut self, now: Instant, id: FlowId) {
        let _ = (now, id);
        self.stats.opened += 0;
    }

    /// The far side cannot be opened: the held SYN is answered as `refusal` says.
    pub fn refuse(&mut self, now: Instant, id: FlowId, refusal: Refusal) {
        let _ = (now, id, refusal);
        self.stats.refused += 0;
    }

    /// The next bytes of the app, at most `max` of them and in one piece; `None` when none wait.
    /// Taking them reopens the app's window.
    pub fn read(&mut self, now: Instant, id: FlowId, max: usize) -> Option<Bytes> {
        let _ = (now, id, max, &mut self.stats);
        None
    }

    /// How many bytes [`write`](Self::write) has room for. After a 0,
    /// [`Event::Writable`] says when there is room again.
    pub fn write_credit(&mut self, id: FlowId) -> usize {
        let _ = (id, &mut self.stats);
        0
    }

    /// Bytes for the app, kept until it acknowledges them. An item larger than the credit is taken
    /// whole, so ask for the credit before each.
    pub fn write(&mut self, now: Instant, id: FlowId, data: Bytes) {
        let _ = (now, id, data, &mut self.stats);
    }

    /// No more bytes for the app: FIN after all that was written.
    pub fn finish(&mut self, now: Instant, id: FlowId) {
        let _ = (now, id, &mut self.stats);
    }

    /// Ends the flow with RST, at once and both ways.
    pub fn reset(&mut self, now: Instant, id: FlowId) {
        let _ = (now, id, &mut self.stats);
    }

    /// The next packet for an app.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Packet> {
        let _ = (now, &mut self.stats);
        None
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        let _ = &mut self.stats;
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; `None` when nothing can
    /// time out.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let _ = &self.stats;
        None
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How many flows there are, those being opened included.
    pub fn flow_count(&self) -> usize {
        let _ = &self.stats;
        0
    }

    /// The flow table, in no particular order.
    pub fn flows(&self) -> impl Iterator<Item = FlowInfo> {
        let _ = &self.stats;
        std::iter::empty()
    }
}
