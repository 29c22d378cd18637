use std::time::Duration;

use super::{Due, Sender};
use crate::clock::Time;
use crate::{Config, Stats};

/// RFC 8985 §7.2, `WCDelAckT`: how long the app may keep the ACK of a single segment back.
const MAX_ACK_DELAY: Duration = Duration::from_millis(200);
/// RFC 8985 §7.2: the time before a probe where nothing was measured.
const INITIAL_PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// RFC 9293 §3.8.3, MUST-23: how long a SYN is repeated at least.
const MIN_SYN_TIMEOUT: Duration = Duration::from_mins(3);

/// What a direction waits for; one thing at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    pub(super) at: Time,
    pub(super) kind: TimerKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimerKind {
    /// The answer to SYN-ACK.
    Syn,
    /// RFC 6298.
    Retransmission,
    /// RFC 8985 §7: a tail loss probe.
    TailProbe,
    /// RFC 8985 §6.2: what may have been reordered is lost, or not.
    Doubt,
    /// RFC 9293 §3.8.6.1 and §3.8.6.2.1: a closed window, or a silly one.
    Persist,
}

/// What the timer leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimerVerdict {
    Wait,
    GiveUp,
}

/// Timers: one at a time, and none when nothing can time out.
impl Sender {
    pub(crate) fn timer(&self) -> Option<Time> {
        self.timer.map(|timer| timer.at)
    }

    /// The timer is due.
    pub(crate) fn on_timer(
        &mut self,
        now: Time,
        config: &Config,
        stats: &mut Stats,
    ) -> TimerVerdict {
        match self.timer.take().map(|timer| timer.kind) {
            None => {}
            Some(TimerKind::Doubt) => self.on_doubt(now, stats),
            Some(TimerKind::TailProbe) => self.due = Due::TailProbe,
            Some(kind) if self.is_given_up(now, kind, config) => return TimerVerdict::GiveUp,
            Some(TimerKind::Syn) => {
                stats.timeouts += 1;
                stats.retransmissions += 1;
                self.due = Due::Syn;
                self.rtt.on_lost_syn();
                self.back_off(now, TimerKind::Syn);
            }
            Some(TimerKind::Retransmission) => {
                self.on_timeout(now, stats);
                self.back_off(now, TimerKind::Retransmission);
            }
            Some(TimerKind::Persist) => {
                self.due = if self.window == 0 { Due::Probe } else { Due::SmallSegment };
                self.back_off(now, TimerKind::Persist);
            }
        }
        TimerVerdict::Wait
    }

    /// Sets the timer for what is being waited for now.
    pub(super) fn arm(&mut self, now: Time) {
        let persists = self.timer.is_some_and(|timer| timer.kind == TimerKind::Persist);
        self.timer = match &self.recovery {
            None if !self.has_unsent() => None,
            Some(_) if self.window > 0 => Some(self.timer_in_flight(now)),
            _ if persists => self.timer,
            _ => Some(Timer { at: now + self.rtt.timeout(), kind: TimerKind::Persist }),
        };
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        self.recovery.as_ref().is_some_and(|recovery| recovery.doubt().is_some())
    }

    fn timer_in_flight(&self, now: Time) -> Timer {
        let timeout = self.active + self.rtt.timeout();
        let retransmission = Timer { at: timeout, kind: TimerKind::Retransmission };
        let Some(recovery) = &self.recovery else { return retransmission };
        if let Some(at) = recovery.doubt() {
            return Timer { at: at.min(timeout), kind: TimerKind::Doubt };
        }
        // RFC 8985 §7.2: not before there is SACK to learn from, nor twice without an answer.
        let probes = self.selective && recovery.may_probe() && self.unanswered.is_none();
        if probes && self.due != Due::TailProbe {
            let at = (now + self.probe_timeout()).min(timeout);
            return Timer { at, kind: TimerKind::TailProbe };
        }
        retransmission
    }

    /// RFC 8985 §7.2: PTO.
    fn probe_timeout(&self) -> Duration {
        if !self.rtt.is_measured() {
            return INITIAL_PROBE_TIMEOUT;
        }
        let single = self.in_flight() <= self.mss();
        let delay = if single { MAX_ACK_DELAY } else { self.congestion.patience() };
        2 * self.rtt.smoothed() + delay
    }

    fn on_timeout(&mut self, now: Time, stats: &mut Stats) {
        stats.timeouts += 1;
        let (mss, flight, selective) = (self.mss(), self.in_flight(), self.selective);
        if let Some(recovery) = &mut self.recovery {
            recovery.on_timeout(now, mss, selective, &self.rtt, self.reordering);
        }
        self.congestion.on_timeout(flight);
        self.active = now;
    }

    fn on_doubt(&mut self, now: Time, stats: &mut Stats) {
        let (mss, flight) = (self.mss(), self.in_flight());
        let Some(recovery) = &mut self.recovery else { return };
        if recovery.detect(now, mss, &self.rtt, self.reordering) {
            stats.fast_retransmits += 1;
            self.congestion.on_loss(now, flight);
        }
        self.arm(now);
    }

    /// RFC 9293 §3.8.3, R2; RFC 5482: nothing was answered for the whole user timeout.
    fn is_given_up(&mut self, now: Time, kind: TimerKind, config: &Config) -> bool {
        let least = if kind == TimerKind::Syn { MIN_SYN_TIMEOUT } else { Duration::ZERO };
        let since = *self.unanswered.get_or_insert(now);
        now.since(since) >= config.user_timeout.max(least)
    }

    /// RFC 6298 §5.5.
    fn back_off(&mut self, now: Time, kind: TimerKind) {
        self.rtt.back_off();
        self.timer = Some(Timer { at: now + self.rtt.timeout(), kind });
    }
}
