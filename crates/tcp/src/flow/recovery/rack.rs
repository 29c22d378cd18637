//! Recent acknowledgement: what was sent well before something that has arrived is lost (RFC 8985).

use std::time::Duration;

use pseudotcp_packet::SeqNumber;

use super::outstanding::{Outstanding, Sent};
use crate::clock::Time;
use crate::rtt::RttEstimator;

/// RFC 8985 §6.2.4: recoveries for which a widened window lasts.
const PERSIST: u8 = 16;
/// RFC 6675 §2, `DupThresh`: segments beyond a hole that leave no doubt.
const DUP_THRESH: u32 = 3;
/// DEVIATION from RFC 8985 §6.2.4 (a quarter of the least round trip): that is nothing where the app
/// is one hop away; timers are no finer than this.
const MIN_WINDOW: Duration = Duration::from_millis(1);

/// What has arrived of what was sent latest, while something is in flight.
#[derive(Debug, Default)]
pub(super) struct Rack {
    /// `RACK.xmit_ts` and `RACK.end_seq`.
    newest: Option<(Time, SeqNumber)>,
    /// RACK.rtt.
    rtt: Duration,
    /// RACK.fack: the furthest that has arrived.
    furthest: Option<SeqNumber>,
}

/// What is known of reordering, for as long as the flow lives.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reordering {
    seen: bool,
    /// `RACK.reo_wnd_mult`, less one.
    widened: u8,
    persist: u8,
}

impl Rack {
    /// RFC 8985 §6.2, steps 2 and 3: a transmission has arrived.
    pub(super) fn on_delivered(
        &mut self,
        now: Time,
        sent: &Sent,
        rtt: &RttEstimator,
        reordering: &mut Reordering,
    ) {
        match self.furthest {
            Some(furthest) if sent.end.offset_from(furthest) < 0 => reordering.seen |= !sent.again,
            _ => self.furthest = Some(sent.end),
        }
        let took = now.since(sent.at);
        if sent.again && took < rtt.least() {
            // Too soon: it was the first one that arrived.
            return;
        }
        if self.newest.is_none_or(|newest| is_later((sent.at, sent.end), newest)) {
            self.newest = Some((sent.at, sent.end));
            self.rtt = took;
        }
    }

    /// RFC 8985 §6.2, step 5. Whether something was lost, and when to look again.
    pub(super) fn detect(
        &self,
        now: Time,
        window: Duration,
        outstanding: &mut Outstanding,
    ) -> (bool, Option<Time>) {
        let Some(newest) = self.newest else { return (false, None) };
        // What left again in this very moment is no older than anything.
        let resent_now = |sent: &Sent| sent.again && sent.at == newest.0;
        let before = |sent: &Sent| is_later(newest, (sent.at, sent.end)) && !resent_now(sent);
        if !outstanding.first().is_some_and(|first| before(first) || outstanding.sacked() > 0) {
            return (false, None);
        }
        let mut again = None;
        let lost = outstanding.lose(|sent| {
            let deadline = sent.at + self.rtt + window;
            let late = before(sent) && deadline <= now;
            if before(sent) && !late {
                again = again.max(Some(deadline));
            }
            late
        });
        (lost, again)
    }

    /// RFC 8985 §6.3: after a timeout everything is lost that had the time to arrive.
    pub(super) fn is_overdue(
        &self,
        now: Time,
        window: Duration,
        rtt: &RttEstimator,
        sent: &Sent,
    ) -> bool {
        sent.at + self.rtt.max(rtt.smoothed()) + window <= now
    }
}

impl Reordering {
    /// RFC 8985 §6.2.4: `RACK.reo_wnd`.
    pub(super) fn window(
        self,
        rtt: &RttEstimator,
        mss: u32,
        recovering: bool,
        sacked: u32,
    ) -> Duration {
        let certain = recovering || sacked >= DUP_THRESH * mss;
        if !self.seen && certain {
            return Duration::ZERO;
        }
        let quarter = rtt.least() / 4;
        (quarter * (1 + u32::from(self.widened))).min(rtt.smoothed()).max(MIN_WINDOW)
    }

    /// D-SACK says that something was sent again in vain.
    pub(crate) fn on_duplicate(&mut self) {
        self.widened = self.widened.saturating_add(1);
        self.persist = PERSIST;
    }

    /// A recovery has ended.
    pub(super) fn on_recovered(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.widened = 0;
        }
    }
}

/// RFC 8985 §6.2, `RACK_sent_after`.
fn is_later(a: (Time, SeqNumber), b: (Time, SeqNumber)) -> bool {
    a.0 > b.0 || a.0 == b.0 && a.1.offset_from(b.1) > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_widened_window_lasts_for_sixteen_recoveries() {
        let mut rtt = RttEstimator::default();
        rtt.sample(Duration::from_millis(100));
        let mut reordering = Reordering { seen: true, ..Reordering::default() };
        let window = |reordering: Reordering| reordering.window(&rtt, 1_000, false, 0).as_millis();
        assert_eq!(window(reordering), 25);
        reordering.on_duplicate();
        for _ in 0..16 {
            assert_eq!(window(reordering), 50);
            reordering.on_recovered();
        }
        assert_eq!(window(reordering), 25);
    }
}
