use std::time::Duration;

use pseudotcp_packet::{SackBlocks, SeqNumber};

use super::{Due, Sender};
use crate::Stats;
use crate::clock::Time;
use crate::flow::congestion::Acked;
use crate::flow::recovery::{News, Report, is_duplicate_report};

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

/// What the app has acknowledged, and offers.
impl Sender {
    /// RFC 5961 §5.2: an acknowledgement of something sent, and not too old.
    pub(crate) fn is_plausible(&self, ack: SeqNumber) -> bool {
        let oldest = i64::from(self.max_window);
        ack.offset_from(self.next) <= 0 && i64::from(ack.offset_from(self.una)) >= -oldest
    }

    /// RFC 9293 §3.10.7.4, fifth check.
    pub(crate) fn on_ack(&mut self, now: Time, ack: &Ack, stats: &mut Stats) {
        // RFC 5681 §2: what makes an ACK a duplicate.
        let window = u32::from(ack.window) << self.shift;
        let current = ack.number == self.una && window == self.window;
        let duplicate = ack.bare && current && self.in_flight() > 0;
        let limited = self.room() < self.mss();
        let closed = self.window == 0;
        self.update_window(ack);
        let repeated = is_duplicate_report(ack.number, &ack.sack);
        if repeated {
            // It may tell of what was acknowledged long ago, when nothing is in flight any more.
            stats.needless_retransmissions += 1;
            self.reordering.on_duplicate();
        }
        let news = self.hear(now, ack, duplicate, repeated);
        let acked = u32::try_from(ack.number.offset_from(self.una)).unwrap_or(0);
        if acked > 0 {
            self.on_progress(now, ack, &news, acked, limited);
        }
        if news.loss || news.tail_loss {
            stats.fast_retransmits += u64::from(news.loss);
            self.congestion.on_loss(now, self.in_flight());
        }
        if self.in_flight() == 0 {
            self.recovery = None;
            self.due = if self.due == Due::TailProbe { Due::Nothing } else { self.due };
        }
        if self.window == 0 || self.in_flight() == 0 {
            // RFC 9293 §3.8.6.1: probing goes on as long as the peer answers.
            self.unanswered = None;
        }
        let turned = closed != (self.window == 0);
        if acked > 0 || news.loss || turned || self.is_in_doubt() {
            self.arm(now);
        }
    }

    /// What the acknowledgement says of what is in flight.
    fn hear(&mut self, now: Time, ack: &Ack, duplicate: bool, repeated: bool) -> News {
        let (mss, selective) = (self.mss(), self.selective);
        let Some(recovery) = &mut self.recovery else { return News::default() };
        let report = Report {
            now,
            number: ack.number,
            sack: &ack.sack,
            selective,
            repeated,
            duplicate,
            mss,
            rtt: &self.rtt,
        };
        recovery.on_ack(&report, &mut self.reordering)
    }

    /// SND.UNA moves.
    fn on_progress(&mut self, now: Time, ack: &Ack, news: &News, octets: u32, limited: bool) {
        self.una = ack.number;
        self.buffer.acknowledge(ack.number);
        self.rtt.recover();
        // RFC 7323 §4.1: timestamps measure what was sent again, too.
        if let Some(round_trip) = news.round_trip.or(ack.round_trip) {
            self.rtt.sample(round_trip);
        }
        let fast = self.recovery.as_ref().is_some_and(|recovery| recovery.is_fast());
        if !fast {
            let round_trip = self.rtt.smoothed();
            self.congestion.on_ack(&Acked { now, octets, round_trip, limited });
        }
        if news.recovered {
            self.congestion.on_recovered();
        }
        self.share.take(now, self.rtt.smoothed(), octets);
        self.unanswered = None;
        // RFC 6298 §5.2 and §5.3.
        self.active = now;
        self.timer = None;
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
}
