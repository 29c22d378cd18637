use std::time::Duration;

use bytes::Bytes;
use pseudotcp_packet::{Body, SackBlocks, SeqNumber};

use super::congestion::{Congestion, Local};
use super::recovery::Recovery;
use crate::clock::Time;
use crate::rtt::RttEstimator;
use crate::send_buffer::SendBuffer;
use crate::{Config, Stats};

/// The direction to the app: what waits, what is in flight, what has to go again.
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
    /// FIN follows the last byte.
    finishing: bool,
    due: Due,
    buffer: SendBuffer,
    recovery: Recovery,
    rtt: RttEstimator,
    /// The segment whose acknowledgement is timed: its end, and when it was sent.
    timed: Option<(SeqNumber, Time)>,
    /// Retransmission, or with nothing in flight the persist timer.
    timer: Option<Time>,
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
}

/// The acknowledging part of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) number: SeqNumber,
    /// The sequence number of the segment that brings it.
    pub(crate) seq: SeqNumber,
    /// As on the wire.
    pub(crate) window: u16,
    /// The segment brings nothing else.
    pub(crate) bare: bool,
    /// A round trip measured by timestamps.
    pub(crate) round_trip: Option<Duration>,
    pub(crate) sack: SackBlocks,
}

/// A segment to be built.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) seq: SeqNumber,
    pub(crate) body: Body,
    pub(crate) push: bool,
    pub(crate) fin: bool,
}

/// What the timer leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimerVerdict {
    Wait,
    GiveUp,
}

impl Sender {
    /// `start` is the number of our SYN, `theirs` that of the app's.
    pub(crate) fn new(start: SeqNumber, theirs: SeqNumber, mss: u16, shift: u8) -> Self {
        let first = start.advance(1);
        Self {
            una: start,
            next: start,
            window: 0,
            max_window: 0,
            window_seq: theirs,
            window_ack: start,
            shift,
            mss,
            finishing: false,
            due: Due::Nothing,
            buffer: SendBuffer::new(first),
            recovery: Recovery::new(first),
            rtt: RttEstimator::default(),
            timed: None,
            timer: None,
            unanswered: None,
            congestion: Box::new(Local),
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

    /// All bytes that the app has acknowledged.
    pub(crate) fn total(&self) -> u64 {
        self.buffer.acknowledged()
    }

    pub(crate) fn timer(&self) -> Option<Time> {
        self.timer
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
        // Karn: a SYN-ACK sent again measures nothing.
        self.timed = (self.next == self.una).then_some((self.una.advance(1), now));
        self.next = self.una.advance(1);
        self.due = Due::Nothing;
        self.start_timer(now);
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
        self.timed = None;
        self.recovery.on_too_big(self.una, self.next);
    }

    /// Our FIN was sent, and acknowledged.
    pub(crate) fn fin_acknowledged(&self) -> bool {
        self.fin_sent() && self.una == self.next
    }

    /// RFC 5961 §5.2: an acknowledgement of something sent, and not too old.
    pub(crate) fn is_plausible(&self, ack: SeqNumber) -> bool {
        let oldest = i64::from(self.max_window);
        ack.offset_from(self.next) <= 0 && i64::from(ack.offset_from(self.una)) >= -oldest
    }

    /// RFC 9293 §3.10.7.4, fifth check.
    pub(crate) fn on_ack(&mut self, now: Time, ack: &Ack, stats: &mut Stats) {
        // RFC 5681 §2: what makes an ACK a duplicate.
        let window = u32::from(ack.window) << self.shift;
        let duplicate = ack.bare && self.in_flight() > 0 && window == self.window;
        self.update_window(ack);
        self.recovery.on_sack(self.una, self.next, &ack.sack);
        let mut lost = false;
        if ack.number.offset_from(self.una) > 0 {
            self.on_progress(now, ack);
        } else if duplicate && ack.number == self.una {
            lost = self.recovery.on_duplicate(self.una, self.next, self.mss());
        }
        lost |= self.recovery.detect(self.una, self.next, self.mss());
        if lost {
            stats.fast_retransmits += 1;
            self.congestion.on_loss();
        }
        if self.window == 0 || self.in_flight() == 0 {
            // RFC 9293 §3.8.6.1: probing goes on as long as the peer answers.
            self.unanswered = None;
        }
    }

    /// The next segment, at most `max_payload` octets long.
    pub(crate) fn plan(
        &mut self,
        now: Time,
        max_payload: u32,
        stats: &mut Stats,
    ) -> Option<Planned> {
        let planned = match self.plan_again(stats) {
            Some(planned) => Some(planned),
            None => self.plan_new(now, max_payload, stats),
        };
        if planned.is_some() || self.has_unsent() {
            self.start_timer(now);
        }
        planned
    }

    /// The timer is due.
    pub(crate) fn on_timer(
        &mut self,
        now: Time,
        config: &Config,
        stats: &mut Stats,
    ) -> TimerVerdict {
        let since = *self.unanswered.get_or_insert(now);
        if now.since(since) >= config.user_timeout {
            return TimerVerdict::GiveUp;
        }
        self.timed = None;
        if self.in_flight() == 0 && self.window > 0 {
            // RFC 9293 §3.8.6.2.1: the override timeout of SWS avoidance.
            self.due = Due::SmallSegment;
        } else if self.window == 0 {
            self.due = Due::Probe;
        } else {
            stats.timeouts += 1;
            self.recovery.on_timeout(self.una, self.next, self.mss());
            self.congestion.on_timeout();
        }
        self.rtt.back_off();
        self.timer = Some(now + self.rtt.timeout());
        TimerVerdict::Wait
    }

    /// The timer of an unanswered SYN-ACK is due.
    pub(crate) fn on_syn_timer(
        &mut self,
        now: Time,
        config: &Config,
        stats: &mut Stats,
    ) -> TimerVerdict {
        let since = *self.unanswered.get_or_insert(now);
        if now.since(since) >= config.user_timeout {
            return TimerVerdict::GiveUp;
        }
        stats.timeouts += 1;
        stats.retransmissions += 1;
        self.due = Due::Syn;
        self.rtt.back_off();
        self.timer = Some(now + self.rtt.timeout());
        TimerVerdict::Wait
    }

    /// RFC 9293 §3.10.7.4: only segments that are not older than the last update count.
    ///
    /// DEVIATION: an ACK that advances SND.UNA counts in any case. A segment that overtook it would
    /// otherwise leave the old window beyond the new SND.UNA, further than the app ever offered.
    fn update_window(&mut self, ack: &Ack) {
        let newer = ack.seq.offset_from(self.window_seq);
        let advances = ack.number.offset_from(self.una) > 0;
        let latest = newer > 0 || newer == 0 && ack.number.offset_from(self.window_ack) >= 0;
        // An ACK of what was acknowledged before brings nothing at all.
        if advances || latest && ack.number == self.una {
            let window = u32::from(ack.window) << self.shift;
            if self.window == 0 && window > 0 {
                self.rtt.recover();
                self.timer = if self.in_flight() == 0 { None } else { self.timer };
            }
            self.window = window;
            self.max_window = self.max_window.max(window);
            self.window_seq = ack.seq;
            self.window_ack = ack.number;
        }
    }

    fn on_progress(&mut self, now: Time, ack: &Ack) {
        let bytes = u32::try_from(ack.number.offset_from(self.una)).unwrap_or(0);
        self.una = ack.number;
        self.buffer.acknowledge(ack.number);
        self.recovery.on_progress(self.una, self.mss());
        self.congestion.on_ack(bytes);
        self.rtt.recover();
        if let Some(rtt) = self.measured(now, ack) {
            self.rtt.sample(rtt);
        }
        self.unanswered = None;
        // RFC 6298 §5.2 and §5.3.
        self.timer = (self.in_flight() > 0).then(|| now + self.rtt.timeout());
    }

    /// The round trip of the timed segment, or by timestamps where that was sent again (Karn).
    fn measured(&mut self, now: Time, ack: &Ack) -> Option<Duration> {
        match self.timed {
            Some((end, sent)) if ack.number.offset_from(end) >= 0 => {
                self.timed = None;
                Some(now.since(sent))
            }
            Some(_) => None,
            None => ack.round_trip,
        }
    }

    fn plan_again(&mut self, stats: &mut Stats) -> Option<Planned> {
        let (seq, stretch) = self.recovery.hole(self.una)?;
        // The app may have shrunk its window since (RFC 9293 §3.8.6): never beyond it.
        let allowed = u32::try_from(self.una.advance(self.window).offset_from(seq)).unwrap_or(0);
        let len = stretch.min(self.mss()).min(allowed);
        let body = self.buffer.gather(seq, len);
        let end = seq.advance(octets(&body));
        let fin = self.fin_sent() && end == self.buffer.end() && allowed > octets(&body);
        if body.is_empty() && !fin {
            return None;
        }
        self.recovery.resent(end.advance(u32::from(fin)));
        self.timed = None;
        stats.retransmissions += 1;
        let push = end == self.buffer.end() && !body.is_empty();
        Some(Planned { seq, body, push, fin })
    }

    fn plan_new(&mut self, now: Time, max_payload: u32, stats: &mut Stats) -> Option<Planned> {
        if self.fin_sent() || self.recovery.after_timeout() {
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
        self.due = Due::Nothing;
        self.next = seq.advance(len + u32::from(fin));
        self.timed.get_or_insert((self.next, now));
        stats.bytes_out += u64::from(len);
        // DESIGN: bytes sent ≤ acked + window.
        debug_assert!(self.in_flight() <= self.window.max(self.max_window));
        Some(Planned { seq, body, push: len > 0 && len == unsent, fin })
    }

    /// How much to send at once.
    ///
    /// RFC 9293 §3.8.6.2.1, SWS avoidance: a full segment, all there is (Nagle is off), or half of
    /// the largest window seen; nothing smaller before the override timeout.
    fn worthwhile(&self, unsent: u32, usable: u32, max_payload: u32) -> u32 {
        let len = unsent.min(usable).min(max_payload);
        let whole = len == unsent || len >= self.mss() || len >= self.max_window / 2;
        match () {
            () if !whole && self.due != Due::SmallSegment => 0,
            () if len < unsent && len > self.mss() => len - len % self.mss(),
            () => len,
        }
    }

    fn in_flight(&self) -> u32 {
        u32::try_from(self.next.offset_from(self.una)).unwrap_or(0)
    }

    fn usable(&self) -> u32 {
        let window = self.window.min(self.congestion.window());
        u32::try_from(self.una.advance(window).offset_from(self.next)).unwrap_or(0)
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

    fn start_timer(&mut self, now: Time) {
        if self.timer.is_none() {
            self.timer = Some(now + self.rtt.timeout());
        }
    }
}

fn octets(body: &Body) -> u32 {
    u32::try_from(body.octets()).unwrap_or(u32::MAX)
}
