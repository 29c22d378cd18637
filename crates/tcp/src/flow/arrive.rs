use std::time::Duration;

use pseudotcp_packet::{SackBlocks, SeqNumber, TcpFlags};

use super::send::Ack;
use super::state::{State, Step};
use super::{Flow, GROWTH};
use crate::context::Context;
use crate::segment::Segment;
use crate::{CloseCause, Event, reply};

/// RFC 7323 §5.5: 24 days, after which half of a fast timestamp clock's circle may be over.
const PAWS_VALID_SECONDS: u32 = 24 * 24 * 60 * 60;

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    Handled,
    /// The flow has ended; the segment is a SYN that opens another.
    Anew,
}

/// Whether the checks go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Pass,
    Stop,
}

/// RFC 9293 §3.10.7.4: the checks in their order.
impl Flow {
    pub(crate) fn on_segment(&mut self, cx: &mut Context<'_>, segment: &Segment<'_>) -> Arrival {
        self.ledger.wants_transmit = true;
        if self.state.is_held() {
            return self.on_segment_while_held(cx, segment);
        }
        if self.is_another_attempt(segment) {
            // RFC 9293 §3.10.7.4, fourth: a passive opener returns to LISTEN, where a SYN is welcome.
            self.cancel();
            return Arrival::Anew;
        }
        let checks = [
            Self::check_age,
            Self::check_sequence,
            Self::check_reset,
            Self::check_syn,
            Self::check_ack,
        ];
        if checks.into_iter().all(|check| check(self, cx, segment) == Check::Pass) {
            self.heard(cx.now);
            self.take_acknowledgement(cx, segment);
            self.take_payload(cx, segment);
        }
        Arrival::Handled
    }

    /// RFC 7323 §5.3: a timestamp older than the latest means an old duplicate.
    fn check_age(&mut self, cx: &mut Context<'_>, segment: &Segment<'_>) -> Check {
        let Some(ours) = &self.timestamps else { return Check::Pass };
        if segment.has(TcpFlags::RST) {
            return Check::Pass;
        }
        // DEVIATION from RFC 7323 §3.2 (drop it): a segment without them passes, as some hosts send
        // keep-alives so, and Linux takes them.
        let Some(theirs) = segment.options.timestamps else { return Check::Pass };
        // RFC 7323 §5.5: what was noted 24 days ago says nothing any more.
        let outdated = cx.now.seconds().saturating_sub(ours.noted) > PAWS_VALID_SECONDS;
        if !outdated && theirs.value.wrapping_sub(ours.recent).cast_signed() < 0 {
            cx.stats.paws_rejected += 1;
            self.challenge(cx);
            return Check::Stop;
        }
        Check::Pass
    }

    /// First check: the sequence number.
    fn check_sequence(&mut self, cx: &mut Context<'_>, segment: &Segment<'_>) -> Check {
        if self.is_our_syn_again(segment) {
            // D8: SYN-ACK was lost, or is late; it goes again, with the latest timestamp.
            self.note_timestamp(cx, segment);
            self.ecn.on_same_syn(segment);
            self.sender.owe_syn();
            return Check::Stop;
        }
        let known = segment.has(TcpFlags::RST) && self.is_exact_reset(segment.seq);
        if known || self.receiver.accepts(segment) {
            return Check::Pass;
        }
        if segment.has(TcpFlags::RST) {
            cx.stats.dropped += 1;
        } else if segment.len > 0 {
            // D18, D19: what is old, or a probe, is answered.
            cx.stats.duplicates += 1;
            if segment.end().offset_from(self.receiver.next()) <= 0 {
                self.receiver.note_repeated(segment.seq, segment.seq.advance(segment.len));
            }
            self.receiver.owe_ack();
        } else {
            // Keep-alives too (D19); limited, lest two hosts correct each other for ever.
            self.challenge(cx);
        }
        self.heard(cx.now);
        Check::Stop
    }

    /// Second check: RST.
    fn check_reset(&mut self, cx: &mut Context<'_>, segment: &Segment<'_>) -> Check {
        if !segment.has(TcpFlags::RST) {
            return Check::Pass;
        }
        if self.is_exact_reset(segment.seq) {
            cx.stats.resets_in += 1;
            self.step(Step::Abort);
            self.ended.get_or_insert(CloseCause::Reset);
        } else {
            // RFC 5961 §3.2: in the window but not exact could be forged.
            self.challenge(cx);
        }
        Check::Stop
    }

    /// Fourth check: SYN.
    fn check_syn(&mut self, cx: &mut Context<'_>, segment: &Segment<'_>) -> Check {
        if segment.has(TcpFlags::SYN) {
            // RFC 5961 §4.2: in every synchronised state, whatever its number.
            self.challenge(cx);
            return Check::Stop;
        }
        Check::Pass
    }

    /// Fifth check: ACK.
    fn check_ack(&mut self, cx: &mut Context<'_>, segment: &Segment<'_>) -> Check {
        let Some(ack) = segment.ack else {
            cx.stats.dropped += 1;
            return Check::Stop;
        };
        if self.state == State::SynReceived && ack != self.sender.next() {
            // RFC 9293 §3.10.7.4: <SEQ=SEG.ACK><CTL=RST>, and the state stays.
            cx.answer(reply::reset(segment));
            return Check::Stop;
        }
        if !self.sender.is_plausible(ack) {
            // RFC 5961 §5.2.
            self.challenge(cx);
            return Check::Stop;
        }
        Check::Pass
    }

    fn take_acknowledgement(&mut self, cx: &mut Context<'_>, segment: &Segment<'_>) {
        let round_trip = self.round_trip(cx, segment);
        // RFC 7323 §4.3: TS.Recent follows segments that begin at or before Last.ACK.sent.
        if segment.seq.offset_from(self.receiver.acked()) <= 0 {
            self.note_timestamp(cx, segment);
        }
        let Some(number) = segment.ack else { return };
        let ack = Ack {
            number,
            seq: segment.seq,
            window: segment.window,
            bare: segment.sequence_len() == 0,
            round_trip,
            sack: if self.sack { segment.options.sack } else { SackBlocks::default() },
        };
        self.sender.on_ack(cx.now, &ack, cx.stats);
        self.take_report(cx, segment);
        if self.state == State::SynReceived && self.step(Step::SynAcknowledged) {
            self.opening = None;
            cx.stats.opened += 1;
        }
        if self.sender.fin_acknowledged() {
            self.step(Step::FinAcknowledged);
        }
        self.announce_credit(cx);
    }

    /// Seventh and eighth step: payload, and FIN. Urgent data is taken in line (RFC 6093).
    fn take_payload(&mut self, cx: &mut Context<'_>, segment: &Segment<'_>) {
        let fin = segment.has(TcpFlags::FIN);
        if segment.len == 0 && !fin || self.state.is_terminal() {
            return;
        }
        let marked = self.note_mark(cx, segment);
        let arrived = self.receiver.take(segment, fin, cx.left.saturating_sub(GROWTH));
        cx.stats.bytes_in += arrived.in_order;
        cx.stats.bytes_dropped += arrived.dropped;
        cx.stats.out_of_order += u64::from(arrived.out_of_order > 0);
        if arrived.in_order + arrived.out_of_order == 0 && !arrived.finished {
            cx.stats.duplicates += 1;
        }
        if !arrived.ahead {
            // What the app pushes it waits for; FIN, marks, want of room and the end of a gap (RFC
            // 5681 §4.2) are told at once.
            let pushed = segment.has(TcpFlags::PSH) || fin;
            let urgent = pushed || marked || arrived.dropped > 0 || arrived.fills;
            let delay = if urgent { Duration::ZERO } else { cx.config.ack_delay };
            self.receiver.acknowledge_soon(cx.now, delay, self.sender.mss());
        }
        if self.receiver.announce() {
            cx.raise(Event::Readable { id: self.id });
        }
        if arrived.finished && self.step(Step::FinReceived) {
            cx.raise(Event::Finished { id: self.id });
        }
    }

    /// The app's SYN once more while our SYN-ACK is on its way.
    fn is_our_syn_again(&self, segment: &Segment<'_>) -> bool {
        self.state == State::SynReceived
            && segment.is_opening()
            && segment.seq.advance(1) == self.receiver.next()
    }

    /// The app's SYN with another number while our SYN-ACK is on its way.
    fn is_another_attempt(&self, segment: &Segment<'_>) -> bool {
        self.state == State::SynReceived
            && segment.is_opening()
            && !self.is_our_syn_again(segment)
            && self.receiver.accepts(segment)
    }

    /// Whether an RST was sent by someone who knows the app's place in its stream.
    fn is_exact_reset(&self, seq: SeqNumber) -> bool {
        // RFC 5961 §3.2. As on Linux, a host that counts its lost segments may use the number after
        // the last of them, and one that does not count its FIN the number of that.
        let before_fin = self.state.has_apps_fin() && seq.advance(1) == self.receiver.next();
        seq == self.receiver.next() || before_fin || self.receiver.furthest() == Some(seq)
    }

    pub(super) fn note_timestamp(&mut self, cx: &Context<'_>, segment: &Segment<'_>) {
        if let (Some(ours), Some(theirs)) = (&mut self.timestamps, segment.options.timestamps) {
            ours.recent = theirs.value;
            ours.noted = cx.now.seconds();
        }
    }

    /// RFC 7323 §4.1: RTTM by the echoed timestamp.
    fn round_trip(&self, cx: &Context<'_>, segment: &Segment<'_>) -> Option<Duration> {
        let ours = self.timestamps?;
        let echo = segment.options.timestamps?.echo;
        let elapsed = cx.now.timestamp(ours.offset).wrapping_sub(echo);
        // An echo from the future was never ours.
        (elapsed < u32::MAX / 2).then(|| Duration::from_millis(elapsed.into()))
    }
}
