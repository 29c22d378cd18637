use std::time::Duration;

use pseudotcp_packet::{FlowKey, Quote, SeqNumber, TcpFlags, Unreachable};

use super::ecn::EcnState;
use super::receive::Receiver;
use super::send::{Sender, Start};
use super::state::{State, Step};
use super::{Arrival, ChallengeLimit, Flow, Ledger, TimestampState};
use crate::clock::Time;
use crate::config::FOREVER;
use crate::context::Context;
use crate::segment::Segment;
use crate::{CloseCause, Config, Event, FlowId, Refusal, reply};

/// RFC 7323 §2.3: the largest shift.
const MAX_SHIFT: u8 = 14;
/// RFC 9293 §3.7.1: the MSS of a peer that does not say, and over IPv6.
const DEFAULT_MSS: u16 = 536;
const DEFAULT_MSS_V6: u16 = 1_220;
/// Less than this cannot be meant: an attack by tiny segments.
const MIN_MSS: u16 = 88;
/// What the timestamps option takes of every segment (RFC 7323 §3.2, with padding).
const TIMESTAMPS_LEN: u16 = 12;

/// What is kept of a SYN until the handshake is complete.
#[derive(Debug)]
pub(crate) struct Opening {
    /// What an ICMP error may quote; dropped once the SYN is answered.
    quote: Option<Quote>,
    deadline: Time,
    /// Silence lasts until then.
    silent_until: Option<Time>,
    /// `Expired` was raised.
    expired: bool,
    /// Neither SYN-ACK nor refusal was sent.
    unanswered: bool,
    /// The shift offered, if the app offered one.
    pub(super) window_scale: Option<u8>,
}

impl Opening {
    pub(super) fn deadline(&self) -> Time {
        self.deadline
    }

    pub(super) fn is_unanswered(&self) -> bool {
        self.unanswered
    }
}

impl Flow {
    /// Holds a SYN. `start` will be the number of ours, `offset` the start of our timestamps.
    pub(crate) fn open(
        id: FlowId,
        cx: &mut Context<'_>,
        syn: &Segment<'_>,
        quote: Option<Quote>,
        (start, offset): (SeqNumber, u32),
    ) -> Self {
        let config = cx.config;
        // RFC 7323 §1.3: an option is used only if the SYN offers it.
        let window_scale = syn.options.window_scale.map(|_| shift_for(config.receive_buffer));
        let noted = cx.now.seconds();
        let timestamps =
            syn.options.timestamps.map(|ts| TimestampState { recent: ts.value, noted, offset });
        let peer_shift = syn.options.window_scale.unwrap_or(0).min(MAX_SHIFT);
        let mss = effective_mss(syn, config, timestamps.is_some());
        let next = syn.seq.advance(1);
        let selective = syn.options.sack_permitted;
        let sender = Start { ours: start, theirs: syn.seq, mss, shift: peer_shift, selective };
        cx.raise(Event::Opening { id, flow: syn.flow });
        Self {
            id,
            key: syn.flow,
            state: State::Held,
            ended: None,
            receiver: Receiver::new(cx.now, next, config.receive_buffer, window_scale.unwrap_or(0)),
            sender: Sender::new(cx.now, sender, config),
            timestamps,
            sack: selective,
            ecn: EcnState::new(syn, config.ecn, start),
            keep_alives: 0,
            early: false,
            opening: Some(Box::new(Opening {
                quote,
                deadline: cx.now + config.open_deadline,
                silent_until: None,
                expired: false,
                unanswered: true,
                window_scale,
            })),
            last_heard: cx.now,
            credit_awaited: false,
            challenges: ChallengeLimit::default(),
            ledger: Ledger::default(),
        }
    }

    /// SYN-ACK leaves before the far side has answered.
    pub(crate) fn accept_early(&mut self) {
        self.accept();
        self.early = true;
    }

    /// The number of the SYN that is held.
    pub(crate) fn held_syn(&self) -> Option<(FlowKey, SeqNumber)> {
        self.state.is_held().then(|| (self.key, self.receiver.next().advance(u32::MAX)))
    }

    /// The far side is open.
    pub(crate) fn accept(&mut self) {
        self.early = false;
        if self.step(Step::Accept) {
            if let Some(opening) = &mut self.opening {
                opening.unanswered = false;
            }
            self.sender.owe_syn();
            self.ledger.wants_transmit = true;
        }
    }

    /// The far side cannot be opened.
    pub(crate) fn refuse(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        if self.early {
            // The app believes that it is connected: only RST tells it otherwise.
            return self.abort(cx, CloseCause::Refused);
        }
        if !self.state.is_held() {
            return;
        }
        match refusal {
            Refusal::Later { after } => self.defer(cx, after),
            Refusal::Reset => self.abort(cx, CloseCause::Refused),
            Refusal::Unreachable(cause) => self.refuse_unreachable(cx, cause),
        }
    }

    /// A segment arrived for a flow whose SYN is held.
    pub(super) fn on_segment_while_held(
        &mut self,
        cx: &mut Context<'_>,
        segment: &Segment<'_>,
    ) -> Arrival {
        let syn = self.receiver.next().advance(u32::MAX);
        if segment.has(TcpFlags::RST) {
            // RFC 5961 §3.2: only an RST that knows our place counts.
            let exact = segment.seq == syn || segment.seq == self.receiver.next();
            if exact {
                cx.stats.resets_in += 1;
                self.cancel();
            } else {
                cx.stats.dropped += 1;
            }
            return Arrival::Handled;
        }
        if !segment.is_opening() {
            // RFC 9293 §3.10.7.2: an ACK is answered by RST, what has none is dropped.
            match segment.ack.and_then(|_| reply::reset(segment)) {
                Some(reset) => cx.reply(reset),
                None => cx.stats.dropped += 1,
            }
            return Arrival::Handled;
        }
        if segment.seq != syn {
            // The app has given this attempt up and tries again from the same port.
            self.cancel();
            return Arrival::Anew;
        }
        self.on_same_syn(cx, segment)
    }

    /// The deadline for opening has passed: once to be told, and once more to be forgotten.
    pub(super) fn on_open_deadline(&mut self, cx: &mut Context<'_>) {
        let Some(opening) = self.opening.as_mut().filter(|opening| opening.deadline <= cx.now)
        else {
            return;
        };
        if opening.expired {
            return self.abort(cx, CloseCause::TimedOut);
        }
        opening.expired = true;
        opening.deadline = cx.now + cx.config.open_deadline;
        cx.raise(Event::Expired { id: self.id });
    }

    /// A retransmission: SYN-ACK will echo the latest timestamp, otherwise it is absorbed.
    fn on_same_syn(&mut self, cx: &mut Context<'_>, syn: &Segment<'_>) -> Arrival {
        self.note_timestamp(cx, syn);
        self.ecn.on_same_syn(syn);
        let over = |opening: &Opening| opening.silent_until.is_some_and(|until| until <= cx.now);
        if self.opening.as_deref().is_some_and(over) && self.step(Step::Resume) {
            cx.raise(Event::Opening { id: self.id, flow: self.key });
        }
        Arrival::Handled
    }

    pub(super) fn cancel(&mut self) {
        self.give_up(CloseCause::Cancelled);
    }

    /// Ends the flow without a word.
    fn give_up(&mut self, cause: CloseCause) {
        self.step(Step::Abort);
        self.ended.get_or_insert(cause);
    }

    fn defer(&mut self, cx: &Context<'_>, after: Duration) {
        if self.step(Step::Defer)
            && let Some(opening) = &mut self.opening
        {
            opening.silent_until = Some(cx.now + after.min(FOREVER));
        }
    }

    fn refuse_unreachable(&mut self, cx: &mut Context<'_>, cause: Unreachable) {
        let quote = self.opening.as_mut().and_then(|opening| opening.quote.take());
        let Some(quote) = quote else { return self.abort(cx, CloseCause::Refused) };
        cx.reply(quote.unreachable(cause));
        self.give_up(CloseCause::Refused);
    }
}

/// The MSS option that is offered: what the MTU leaves beside headers without options (RFC 6691).
pub(super) fn offered_mss(config: &Config, is_ipv6: bool) -> u16 {
    let headers = if is_ipv6 { 60 } else { 40 };
    u16::try_from(config.mtu.saturating_sub(headers)).unwrap_or(u16::MAX)
}

/// RFC 9293 §3.7.1: the smaller of what the app takes and what the device does, less options.
fn effective_mss(syn: &Segment<'_>, config: &Config, timestamps: bool) -> u16 {
    let is_ipv6 = syn.flow.is_ipv6();
    let default = if is_ipv6 { DEFAULT_MSS_V6 } else { DEFAULT_MSS };
    let theirs = syn.options.mss.unwrap_or(default).max(MIN_MSS);
    let options = if timestamps { TIMESTAMPS_LEN } else { 0 };
    theirs.min(offered_mss(config, is_ipv6)).saturating_sub(options)
}

/// The smallest shift with which 16 bits can show a window of `capacity`.
fn shift_for(capacity: u32) -> u8 {
    (0..MAX_SHIFT).find(|&shift| u16::try_from(capacity >> shift).is_ok()).unwrap_or(MAX_SHIFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d15_the_shift_is_just_enough_and_at_most_fourteen() {
        assert_eq!(shift_for(2_048), 0);
        assert_eq!(shift_for(65_535), 0);
        assert_eq!(shift_for(65_536), 1);
        assert_eq!(shift_for(256 * 1024), 3);
        assert_eq!(shift_for(65_535 << 14), 14);
        assert_eq!(shift_for(u32::MAX), 14);
    }
}
