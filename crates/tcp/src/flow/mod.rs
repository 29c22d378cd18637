//! One connection: its state, its two directions, and what is done to it.
//!
//! ```text
//!   app ── arrive ──▶ Receiver ── read ──▶ far side      state: who may do what
//!   app ◀─ transmit ─ Sender  ◀── write ── far side      opening: the held SYN
//! ```

mod arrive;
mod congestion;
mod ecn;
mod keep_alive;
mod opening;
mod path_mtu;
mod receive;
mod recovery;
mod send;
pub(crate) mod state;
mod transmit;

use std::time::Duration;

use bytes::Bytes;
use pseudotcp_packet::{FlowKey, SeqNumber, TcpOptions};

pub(crate) use arrive::Arrival;
use ecn::EcnState;
use opening::Opening;
use receive::{Receiver, Terms};
use send::{Sender, TimerVerdict};
use state::{State, Step};

use crate::clock::Time;
use crate::context::Context;
use crate::turn::Turn;
use crate::{CloseCause, Event, FlowId, FlowInfo, reply};

/// A flow that is being opened, open, or closing.
#[derive(Debug)]
pub(crate) struct Flow {
    id: FlowId,
    /// The app is the source.
    key: FlowKey,
    state: State,
    /// Why it ended, when it did not end by FIN both ways.
    ended: Option<CloseCause>,
    receiver: Receiver,
    sender: Sender,
    /// Negotiated, with what is needed for the option.
    timestamps: Option<TimestampState>,
    /// SACK may be sent.
    sack: bool,
    ecn: EcnState,
    /// Keep-alives without an answer.
    keep_alives: u8,
    /// SYN-ACK was sent before the far side has answered.
    early: bool,
    /// The held SYN, until the handshake is complete.
    opening: Option<Box<Opening>>,
    last_heard: Time,
    /// `write_credit` said 0, and its caller waits for `Writable`.
    credit_awaited: bool,
    challenges: ChallengeLimit,
    pub(crate) ledger: Ledger,
}

/// An idle flow, box, slot, index and timer entry included, stays below 512 bytes.
const _: () = assert!(size_of::<Flow>() <= 424);

/// RFC 7323: the peer's latest timestamp, and where ours start.
#[derive(Clone, Copy, Debug)]
struct TimestampState {
    /// TS.Recent, and in which second it was noted.
    recent: u32,
    noted: u32,
    offset: u32,
}

/// RFC 5961 §7: how many challenge ACKs were sent in which second.
#[derive(Clone, Copy, Debug, Default)]
struct ChallengeLimit {
    second: u32,
    sent: u8,
}

/// By how much joining small pieces may make a flow keep more memory alive than it takes in.
const GROWTH: usize = 16 * 1024;

/// RFC 5961 §7: challenge ACKs of one flow in one second.
const CHALLENGES_PER_SECOND: u8 = 10;

/// What the engine has noted about a flow, so that it can tell what has changed.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent notes, each with one meaning")]
pub(crate) struct Ledger {
    /// Bytes charged to the budget.
    pub(crate) charged: usize,
    /// Counted against the backlog.
    pub(crate) opening: bool,
    /// No longer found by its five-tuple.
    pub(crate) unlinked: bool,
    /// Something may have to be sent.
    pub(crate) wants_transmit: bool,
    /// On the list of flows to transmit.
    pub(crate) queued: bool,
    /// The budget keeps it from going on.
    pub(crate) starved: bool,
    /// On the list of starved flows.
    pub(crate) waits_for_room: bool,
    /// In the queue of acknowledgements that wait.
    pub(crate) ack_queued: bool,
    pub(crate) turn: Turn,
    /// Its deadline in the timer queue; its own may be later.
    pub(crate) armed: Option<Time>,
}

impl Flow {
    pub(crate) fn id(&self) -> FlowId {
        self.id
    }

    pub(crate) fn key(&self) -> &FlowKey {
        &self.key
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// The app or the far side has yet to answer.
    pub(crate) fn is_opening(&self) -> bool {
        self.state.is_opening() || self.early
    }

    /// How long nothing has happened, where nothing is to be done either.
    pub(crate) fn idle_for(&self, now: Time) -> Option<Duration> {
        let waits = self.is_opening() || self.receiver.buffered() > 0 || !self.sender.is_idle();
        (!waits && !self.state.is_terminal()).then(|| now.since(self.last_heard))
    }

    /// The handshake was completed.
    pub(crate) fn was_opened(&self) -> bool {
        self.opening.is_none()
    }

    /// Octets of memory that both directions keep alive.
    pub(crate) fn pinned(&self) -> usize {
        self.receiver.pinned() + self.sender.pinned()
    }

    /// Why the flow is over, once it is: FIN both ways waits until all bytes have been read.
    pub(crate) fn over(&self) -> Option<CloseCause> {
        let drained = self.state.is_terminal() && self.receiver.unread() == 0;
        self.ended.or(drained.then_some(CloseCause::Clean))
    }

    pub(crate) fn read(&mut self, cx: &mut Context<'_>, max: usize) -> Option<Bytes> {
        let terms = self.terms(cx);
        let data = self.receiver.read(max, &terms)?;
        self.note_want(cx, &terms);
        self.ledger.wants_transmit |= self.receiver.owes_ack();
        Some(data)
    }

    /// Bytes that `write` has room for; 0 is remembered.
    pub(crate) fn write_credit(&mut self, cx: &Context<'_>) -> usize {
        if !self.takes_data() {
            return 0;
        }
        let own = self.sender.share(cx.now, cx.config).saturating_sub(self.sender.buffered());
        let credit = own.min(cx.room);
        self.credit_awaited = credit == 0;
        self.ledger.starved |= own > 0 && cx.room == 0;
        credit
    }

    pub(crate) fn write(&mut self, cx: &mut Context<'_>, data: Bytes) {
        if data.len().saturating_add(GROWTH) > cx.left {
            // The caller has not asked for credit: the budget holds, the flow does not.
            self.abort(cx, CloseCause::Evicted);
        } else if self.takes_data() {
            self.sender.push(data);
            self.ledger.wants_transmit = true;
        }
    }

    pub(crate) fn finish(&mut self) {
        if self.takes_data() {
            self.sender.finish();
            self.ledger.wants_transmit = true;
        }
    }

    /// Whether the app has acknowledged all that it was sent, an own FIN included.
    pub(crate) fn is_delivered(&self) -> bool {
        let fin_owed = self.sender.is_finishing() && !self.sender.fin_acknowledged();
        self.sender.buffered() == 0 && !fin_owed
    }

    /// Ends the connection with RST.
    pub(crate) fn abort(&mut self, cx: &mut Context<'_>, cause: CloseCause) {
        // RFC 9293 §3.10.5: none where both sides have finished.
        let finished = matches!(self.state, State::Closing | State::LastAck);
        if self.step(Step::Abort) && !finished {
            cx.stats.resets_out += 1;
            // RFC 9293 §3.10.5: a reset at SND.NXT. Without a SYN of ours there is no such number.
            // RFC 7323 §3.2: with timestamps, once they are negotiated.
            let silent = self.opening.as_ref().is_some_and(|opening| opening.is_unanswered());
            let (seq, options) = if silent {
                (SeqNumber::new(0), TcpOptions::default())
            } else {
                (self.sender.next(), self.options(cx))
            };
            let ack = Some(self.receiver.next());
            cx.reply(reply::bare_reset(&self.key, seq, ack, options));
        }
        self.ended.get_or_insert(cause);
    }

    /// The earliest instant at which something times out, acknowledgements left aside.
    pub(crate) fn deadline(&self, cx: &Context<'_>) -> Time {
        let config = cx.config;
        let own = match &self.opening {
            Some(opening) if self.state.is_held() => opening.deadline(),
            _ if self.state.is_closing() => self.last_heard + config.closing_timeout,
            _ => self.last_heard + config.idle_timeout,
        };
        let timers = [self.sender.timer(), self.keep_alive_due(config)];
        let timers = timers.into_iter().flatten();
        timers.filter(|_| !self.state.is_terminal()).fold(own, Time::min)
    }

    /// What is due first; what else is due comes next.
    pub(crate) fn on_timeout(&mut self, cx: &mut Context<'_>) {
        if self.state.is_held() {
            self.on_open_deadline(cx);
        } else if self.sender.timer().is_some_and(|timer| timer <= cx.now) {
            self.on_sender_timer(cx);
        } else if self.keep_alive_due(cx.config).is_some_and(|due| due <= cx.now) {
            self.on_keep_alive(cx);
        } else if self.deadline(cx) <= cx.now {
            self.abort(cx, CloseCause::TimedOut);
        }
    }

    /// When an acknowledgement can wait no longer.
    pub(crate) fn ack_due(&self) -> Option<Time> {
        self.receiver.ack_due().filter(|_| !self.state.is_terminal())
    }

    pub(crate) fn on_ack_due(&mut self) {
        self.receiver.owe_ack();
        self.ledger.wants_transmit = true;
    }

    /// The budget has room again.
    pub(crate) fn relieve(&mut self, cx: &mut Context<'_>) {
        self.ledger.starved = false;
        if !self.state.is_opening() && !self.state.is_terminal() {
            self.receiver.owe_ack();
            self.ledger.wants_transmit = true;
        }
        self.announce_credit(cx);
    }

    /// It has waited for its turn.
    pub(crate) fn begin_turn(&mut self, cx: &mut Context<'_>) {
        cx.turns.begin(cx.now, self.id, &mut self.ledger.turn);
        self.receiver.owe_ack();
        self.ledger.wants_transmit = true;
    }

    pub(crate) fn info(&self) -> FlowInfo {
        FlowInfo {
            id: self.id,
            flow: self.key,
            state: self.state,
            bytes_in: self.receiver.total(),
            bytes_out: self.sender.total(),
            unread: self.receiver.buffered(),
            unacknowledged: self.sender.buffered(),
        }
    }

    fn on_sender_timer(&mut self, cx: &mut Context<'_>) {
        match self.sender.on_timer(cx.now, cx.config, cx.stats) {
            TimerVerdict::GiveUp => self.abort(cx, CloseCause::TimedOut),
            TimerVerdict::Wait => self.ledger.wants_transmit = true,
        }
    }

    /// Raises `Writable` if someone waits and a worthwhile amount has become free.
    fn announce_credit(&mut self, cx: &mut Context<'_>) {
        let share = self.sender.share(cx.now, cx.config);
        if !self.credit_awaited || share.saturating_sub(self.sender.buffered()) < share / 4 {
            return;
        }
        if cx.room > 0 {
            self.credit_awaited = false;
            cx.raise(Event::Writable { id: self.id });
        } else {
            self.ledger.starved = true;
        }
    }

    fn terms(&self, cx: &Context<'_>) -> Terms {
        let (mss, round_trip) = (self.sender.mss(), self.sender.round_trip());
        let may_grow = self.receiver.is_small() || cx.turns.allow(self.id, self.ledger.turn);
        let most = if may_grow { u32::MAX } else { 0 };
        Terms { now: cx.now, room: cx.room, most, mss, round_trip }
    }

    /// Notes what keeps the window from growing.
    fn note_want(&mut self, cx: &mut Context<'_>, terms: &Terms) {
        self.ledger.starved |= self.receiver.is_starved(terms);
        let is_used_up = terms.most == 0 && self.receiver.promised() < terms.mss;
        if is_used_up && self.receiver.has_room(terms) {
            cx.turns.wait(self.id, &mut self.ledger.turn);
        }
    }

    /// Whether the far side may still write and finish.
    fn takes_data(&self) -> bool {
        let accepted = !self.state.is_held() && !self.state.is_terminal();
        accepted && !self.sender.is_finishing()
    }

    /// An ACK that challenges the sender of an implausible segment, or answers a probe.
    fn challenge(&mut self, cx: &mut Context<'_>) {
        let second = cx.now.seconds();
        if self.challenges.second != second {
            self.challenges = ChallengeLimit { second, sent: 0 };
        }
        if self.challenges.sent < CHALLENGES_PER_SECOND {
            self.challenges.sent += 1;
            cx.stats.challenge_acks += 1;
            self.receiver.owe_ack();
        } else {
            cx.stats.dropped += 1;
        }
    }

    /// Takes a step of the state machine; `false` where the state has none such.
    fn step(&mut self, step: Step) -> bool {
        self.state.take(step).is_ok()
    }
}
