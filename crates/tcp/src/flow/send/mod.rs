//! The direction to the app: what waits, what is in flight, what has to go again.

mod acknowledge;
mod timer;

use std::time::Duration;

use bytes::Bytes;
use pseudotcp_packet::{Body, SeqNumber};

pub(crate) use acknowledge::Ack;
pub(crate) use timer::TimerVerdict;
use timer::{Timer, TimerKind};

use super::congestion::{self, Congestion};
use super::recovery::{Recovery, Reordering};
use crate::clock::Time;
use crate::rtt::RttEstimator;
use crate::send_buffer::SendBuffer;
use crate::share::Share;
use crate::{Config, Stats};

/// The direction to the app.
#[derive(Debug)]
pub(crate) struct Sender {
    /// SND.UNA.
    una: SeqNumber,
    /// SND.NXT; never moved back.
    next: SeqNumber,
    /// SND.WND, scaled.
    window: u32,
    max_window: u32,
    /// SND.WL1 and SND.WL2.
    window_seq: SeqNumber,
    window_ack: SeqNumber,
    shift: u8,
    /// Payload octets of one segment, what options take already left out.
    mss: u16,
    /// The app reports by SACK what it has.
    selective: bool,
    /// FIN follows the last byte.
    finishing: bool,
    due: Due,
    reordering: Reordering,
    buffer: SendBuffer,
    /// How much of it is of use.
    share: Share,
    /// While something is in flight.
    recovery: Option<Box<Recovery>>,
    rtt: RttEstimator,
    timer: Option<Timer>,
    /// When something was last sent, or last acknowledged: the timeout counts from then.
    active: Time,
    /// When the timer fired first without an answer since.
    unanswered: Option<Time>,
    congestion: Box<dyn Congestion>,
}

/// What has to be sent besides data and FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    /// SYN-ACK.
    Syn,
    /// A window probe.
    Probe,
    /// Whatever fits, although SWS avoidance would wait.
    SmallSegment,
    /// Something to probe the tail with, new or not.
    TailProbe,
}

/// A segment to be built.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) seq: SeqNumber,
    pub(crate) body: Body,
    pub(crate) push: bool,
    pub(crate) fin: bool,
    /// It was never sent before, and is more than a FIN.
    pub(crate) fresh: bool,
}

/// What a sender begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// The number of our SYN.
    pub(crate) ours: SeqNumber,
    /// The number of the app's.
    pub(crate) theirs: SeqNumber,
    pub(crate) mss: u16,
    /// The scale of the app's windows.
    pub(crate) shift: u8,
    pub(crate) selective: bool,
}

impl Sender {
    pub(crate) fn new(now: Time, start: Start, config: &Config) -> Self {
        let Start { ours, theirs, mss, shift, selective } = start;
        Self {
            una: ours,
            next: ours,
            window: 0,
            max_window: 0,
            window_seq: theirs,
            window_ack: ours,
            shift,
            mss,
            selective,
            finishing: false,
            due: Due::Nothing,
            reordering: Reordering::default(),
            buffer: SendBuffer::new(ours.advance(1)),
            share: Share::new(now),
            recovery: None,
            rtt: RttEstimator::default(),
            timer: None,
            active: now,
            unanswered: None,
            congestion: congestion::start(config.congestion, mss.into()),
        }
    }

    pub(crate) fn una(&self) -> SeqNumber {
        self.una
    }

    pub(crate) fn next(&self) -> SeqNumber {
        self.next
    }

    pub(crate) fn mss(&self) -> u32 {
        u32::from(self.mss)
    }

    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Octets of memory that they keep alive.
    pub(crate) fn pinned(&self) -> usize {
        self.buffer.pinned()
    }

    /// All bytes that the app has acknowledged.
    pub(crate) fn total(&self) -> u64 {
        self.buffer.acknowledged()
    }

    /// How many octets it is of use to buffer.
    pub(crate) fn share(&self, now: Time, config: &Config) -> usize {
        let limit = u32::try_from(config.send_buffer).unwrap_or(u32::MAX);
        self.share.size(now, self.round_trip(), limit) as usize
    }

    /// To the app and back.
    pub(crate) fn round_trip(&self) -> Duration {
        self.rtt.smoothed()
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.rtt.timeout()
    }

    pub(crate) fn push(&mut self, data: Bytes) {
        self.buffer.push(data);
    }

    pub(crate) fn finish(&mut self) {
        self.finishing = true;
    }

    pub(crate) fn is_finishing(&self) -> bool {
        self.finishing
    }

    pub(crate) fn owe_syn(&mut self) {
        self.due = Due::Syn;
    }

    pub(crate) fn owes_syn(&self) -> bool {
        self.due == Due::Syn
    }

    /// SYN-ACK was built.
    pub(crate) fn syn_sent(&mut self, now: Time) {
        let (una, end) = (self.una, self.una.advance(1));
        if self.next == una {
            self.next = end;
            self.recovery().sent(end, now);
        } else {
            // Karn: a SYN-ACK sent again measures nothing.
            self.recovery().resent(una, end, now);
        }
        self.due = Due::Nothing;
        self.timer.get_or_insert(Timer { at: now + self.rtt.timeout(), kind: TimerKind::Syn });
    }

    /// A keep-alive is due.
    pub(crate) fn owe_probe(&mut self) {
        self.due = Due::Probe;
    }

    /// Nothing was sent that is not acknowledged, and nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight() == 0 && !self.has_unsent()
    }

    /// Whether a report of congestion would make a difference.
    pub(crate) fn answers_congestion(&self) -> bool {
        self.congestion.answers_congestion()
    }

    /// The app reports congestion: RFC 3168 §6.1.2, the same as one loss.
    pub(crate) fn on_congestion(&mut self, now: Time) {
        let repairs = self.recovery.as_ref().is_some_and(|recovery| recovery.is_fast());
        if !repairs {
            self.congestion.on_loss(now, self.in_flight());
        }
    }

    /// Whether a window probe is owed; no longer, once told.
    pub(crate) fn take_probe(&mut self) -> bool {
        let owed = self.due == Due::Probe;
        if owed {
            self.due = Due::Nothing;
        }
        owed
    }

    /// Whether an octet was sent and is not acknowledged.
    pub(crate) fn is_in_flight(&self, seq: SeqNumber) -> bool {
        seq.in_window(self.una, self.in_flight())
    }

    /// RFC 1191 §6.4, RFC 8201 §5.4: what is in flight goes again at once, in smaller segments; it
    /// says nothing about congestion.
    pub(crate) fn shrink_segments(&mut self, mss: u16) {
        self.mss = mss;
        self.congestion.on_mss(mss.into());
        self.recovery().on_too_big();
    }

    /// Our FIN was sent, and acknowledged.
    pub(crate) fn fin_acknowledged(&self) -> bool {
        self.fin_sent() && self.una == self.next
    }

    /// The next segment, at most `max_payload` octets long.
    pub(crate) fn plan(
        &mut self,
        now: Time,
        max_payload: u32,
        stats: &mut Stats,
    ) -> Option<Planned> {
        let planned = self
            .plan_again(now, stats)
            .or_else(|| self.plan_new(now, max_payload, stats))
            .or_else(|| self.plan_tail_probe(now, stats));
        if planned.is_some() || self.timer.is_none() {
            self.arm(now);
        }
        planned
    }

    fn plan_again(&mut self, now: Time, stats: &mut Stats) -> Option<Planned> {
        let room = self.room();
        let (seq, stretch) = self.recovery.as_ref()?.lost(room)?;
        self.send_again(now, seq, stretch, stats)
    }

    /// RFC 8985 §7.3: the last segment once more, as there was nothing new to probe with.
    fn plan_tail_probe(&mut self, now: Time, stats: &mut Stats) -> Option<Planned> {
        if self.due != Due::TailProbe {
            return None;
        }
        self.due = Due::Nothing;
        let stretch = self.in_flight().min(self.mss() + u32::from(self.fin_sent()));
        let seq = self.una.advance(self.in_flight() - stretch);
        let planned = self.send_again(now, seq, stretch, stats);
        self.recovery().probed(true);
        self.active = if planned.is_some() { now } else { self.active };
        stats.tail_probes += u64::from(planned.is_some());
        planned
    }

    /// At most one segment of what was sent before.
    fn send_again(
        &mut self,
        now: Time,
        seq: SeqNumber,
        stretch: u32,
        stats: &mut Stats,
    ) -> Option<Planned> {
        // The app may have shrunk its window since (RFC 9293 §3.8.6): never beyond it.
        let allowed = u32::try_from(self.una.advance(self.window).offset_from(seq)).unwrap_or(0);
        let body = self.buffer.gather(seq, stretch.min(self.mss()).min(allowed));
        let len = octets(&body);
        let end = seq.advance(len);
        let fin = self.fin_sent() && end == self.buffer.end() && stretch.min(allowed) > len;
        if body.is_empty() && !fin {
            return None;
        }
        self.recovery().resent(seq, end.advance(u32::from(fin)), now);
        if seq == self.una {
            self.active = now;
        }
        stats.retransmissions += 1;
        let push = end == self.buffer.end() && !body.is_empty();
        Some(Planned { seq, body, push, fin, fresh: false })
    }

    fn plan_new(&mut self, now: Time, max_payload: u32, stats: &mut Stats) -> Option<Planned> {
        if self.fin_sent() {
            return None;
        }
        let unsent = self.unsent();
        // D10: never past the app's window.
        let usable = self.usable();
        let len = self.worthwhile(unsent, usable, max_payload);
        let seq = self.next;
        let body = self.buffer.gather(seq, len);
        let len = octets(&body);
        let fin = self.finishing && len == unsent && usable > len;
        if len == 0 && !fin {
            return None;
        }
        if self.in_flight() == 0 {
            if now.since(self.active) > self.rtt.timeout() {
                self.congestion.on_idle();
            }
            self.active = now;
        }
        self.next = seq.advance(len + u32::from(fin));
        let (end, probes) = (self.next, self.due == Due::TailProbe);
        self.recovery().sent(end, now);
        if probes {
            self.recovery().probed(false);
            self.active = now;
            stats.tail_probes += 1;
        }
        self.due = Due::Nothing;
        stats.bytes_out += u64::from(len);
        // DESIGN: bytes sent ≤ acked + window.
        debug_assert!(self.in_flight() <= self.window.max(self.max_window));
        Some(Planned { seq, body, push: len > 0 && len == unsent, fin, fresh: len > 0 })
    }

    /// How much to send at once.
    ///
    /// RFC 9293 §3.8.6.2.1, SWS avoidance: a full segment, all there is (Nagle is off), or half of
    /// the largest window seen; nothing smaller before the override timeout.
    fn worthwhile(&self, unsent: u32, usable: u32, max_payload: u32) -> u32 {
        let len = unsent.min(usable).min(max_payload);
        let least = self.least(max_payload);
        let whole = len == unsent || len >= least || len >= self.max_window / 2;
        match () {
            () if !whole && self.due != Due::SmallSegment => 0,
            () if len < unsent && len > self.mss() => len - len % self.mss(),
            () => len,
        }
    }

    /// What is worth sending although more waits: a segment; where the device cuts super-segments a third
    /// of what may be in flight, as acknowledgements are on their way that allow more.
    fn least(&self, max_payload: u32) -> u32 {
        let third = if self.due == Due::Nothing { self.in_flight() / 2 } else { 0 };
        third.min(max_payload).max(self.mss())
    }

    fn recovery(&mut self) -> &mut Recovery {
        let una = self.una;
        self.recovery.get_or_insert_with(|| Box::new(Recovery::new(una)))
    }

    fn in_flight(&self) -> u32 {
        u32::try_from(self.next.offset_from(self.una)).unwrap_or(0)
    }

    /// What the congestion window leaves.
    fn room(&self) -> u32 {
        let pipe = self.recovery.as_ref().map_or(0, |recovery| recovery.pipe(self.mss()));
        self.congestion.window().saturating_sub(pipe)
    }

    /// How many new octets both windows allow.
    fn usable(&self) -> u32 {
        let edge = self.una.advance(self.window);
        let offered = u32::try_from(edge.offset_from(self.next)).unwrap_or(0);
        // RFC 8985 §7.3: a probe may exceed the congestion window by a segment.
        let room = if self.due == Due::TailProbe { self.mss() } else { self.room() };
        offered.min(room)
    }

    fn unsent(&self) -> u32 {
        u32::try_from(self.buffer.end().offset_from(self.next)).unwrap_or(0)
    }

    fn has_unsent(&self) -> bool {
        self.unsent() > 0 || self.finishing && !self.fin_sent()
    }

    fn fin_sent(&self) -> bool {
        self.next.offset_from(self.buffer.end()) > 0
    }
}

fn octets(body: &Body) -> u32 {
    u32::try_from(body.octets()).unwrap_or(u32::MAX)
}
