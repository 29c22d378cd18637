//! What is in flight, what of it is lost, and what has to go again.
//!
//! ```text
//!   SACK blocks ─▶ outstanding ─▶ rack: sent well before what has arrived ─▶ lost ─▶ sent again
//!   duplicates  ─────────────────▶ the first segment (RFC 6582)  ─────────────▲
//!   timeout     ─────────────────▶ the first, and all that is overdue ────────┘
//! ```

mod outstanding;
mod rack;

use std::time::Duration;

use pseudotcp_packet::{SackBlocks, SeqNumber};
use smallvec::SmallVec;

use outstanding::Outstanding;
use rack::Rack;
pub(crate) use rack::Reordering;

use crate::clock::Time;
use crate::rtt::RttEstimator;

/// RFC 5681 §3.2: the duplicate ACKs that mean a loss.
const DUPLICATES: u8 = 3;

/// The state of a direction while something is in flight.
#[derive(Debug)]
pub(crate) struct Recovery {
    outstanding: Outstanding,
    rack: Rack,
    episode: Option<Episode>,
    /// Duplicate ACKs in a row, where there is no SACK.
    duplicates: u8,
    probe: Option<Probe>,
    /// When to look again at what may have been reordered.
    doubt: Option<Time>,
    /// One segment goes again whatever the congestion window is.
    urgent: bool,
}

/// The repair of one loss.
#[derive(Clone, Copy, Debug)]
struct Episode {
    /// SND.NXT when the loss was noticed: it ends when this is acknowledged.
    until: SeqNumber,
    /// It began with a timeout.
    timeout: bool,
}

/// RFC 8985 §7: a tail loss probe that is under way.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// `TLP.end_seq`.
    end: SeqNumber,
    /// `TLP.is_retrans`.
    again: bool,
}

/// What an ACK says of what is in flight.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) now: Time,
    pub(crate) number: SeqNumber,
    pub(crate) sack: &'a SackBlocks,
    /// SACK was negotiated.
    pub(crate) selective: bool,
    /// RFC 2883: something was sent again in vain.
    pub(crate) repeated: bool,
    /// RFC 5681 §2: it says nothing new.
    pub(crate) duplicate: bool,
    pub(crate) mss: u32,
    pub(crate) rtt: &'a RttEstimator,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// A round trip, if what was acknowledged had been sent only once (Karn).
    pub(crate) round_trip: Option<Duration>,
    /// A recovery begins.
    pub(crate) loss: bool,
    /// One has ended.
    pub(crate) recovered: bool,
    /// A probe repaired a loss that nothing else would have shown.
    pub(crate) tail_loss: bool,
}

impl Recovery {
    pub(crate) fn new(una: SeqNumber) -> Self {
        Self {
            outstanding: Outstanding::new(una),
            rack: Rack::default(),
            episode: None,
            duplicates: 0,
            probe: None,
            doubt: None,
            urgent: false,
        }
    }

    /// New octets, up to `end`, leave.
    pub(crate) fn sent(&mut self, end: SeqNumber, now: Time) {
        self.outstanding.push(end, now);
    }

    /// Octets that may still be on their way.
    pub(crate) fn pipe(&self, mss: u32) -> u32 {
        // RFC 6582 §3.2: without SACK each duplicate says that one segment has left the network.
        self.outstanding.pipe().saturating_sub(u32::from(self.duplicates) * mss)
    }

    /// A loss is being repaired by other means than the timer: the window does not grow.
    pub(crate) fn is_fast(&self) -> bool {
        self.episode.is_some_and(|episode| !episode.timeout)
    }

    /// When to look again at what may have been reordered.
    pub(crate) fn doubt(&self) -> Option<Time> {
        self.doubt
    }

    /// RFC 8985 §7.2: whether a silence may be probed.
    pub(crate) fn may_probe(&self) -> bool {
        self.episode.is_none() && self.probe.is_none() && self.outstanding.sacked() == 0
    }

    /// An acknowledgement arrived.
    pub(crate) fn on_ack(&mut self, report: &Report<'_>, reordering: &mut Reordering) -> News {
        let progress = report.number.offset_from(self.outstanding.start()) > 0;
        let round_trip = self.deliver(report, reordering);
        let mut news = News { round_trip, ..News::default() };
        news.tail_loss = self.judge_probe(report);
        if progress {
            self.duplicates = 0;
            news.recovered = self.leave(report.number, reordering);
        }
        news.loss = if report.selective {
            self.detect(report.now, report.mss, report.rtt, *reordering)
        } else {
            self.count(report, progress)
        };
        news
    }

    /// Time has passed over what may have been reordered. Whether a recovery begins.
    pub(crate) fn detect(
        &mut self,
        now: Time,
        mss: u32,
        rtt: &RttEstimator,
        reordering: Reordering,
    ) -> bool {
        let window = reordering.window(rtt, mss, self.episode.is_some(), self.outstanding.sacked());
        let (lost, doubt) = self.rack.detect(now, window, &mut self.outstanding);
        self.doubt = doubt;
        lost && self.begin(false)
    }

    /// RFC 6298 §5.4, RFC 8985 §6.3: the retransmission timer fired.
    pub(crate) fn on_timeout(
        &mut self,
        now: Time,
        mss: u32,
        selective: bool,
        rtt: &RttEstimator,
        reordering: Reordering,
    ) {
        if self.outstanding.reneges() {
            self.outstanding.forget_reports();
        }
        let window = reordering.window(rtt, mss, true, 0);
        self.outstanding.lose_first(mss);
        self.outstanding.lose(|sent| !selective || self.rack.is_overdue(now, window, rtt, sent));
        (self.duplicates, self.probe, self.doubt) = (0, None, None);
        self.episode = None;
        self.begin(true);
    }

    /// RFC 1191 §6.4: what is in flight did not fit the path, and goes again.
    pub(crate) fn on_too_big(&mut self) {
        self.outstanding.lose(|_| true);
        self.begin(false);
    }

    /// The next octets to send again, where `room` is what the congestion window leaves.
    pub(crate) fn lost(&self, room: u32) -> Option<(SeqNumber, u32)> {
        self.outstanding.first_lost().filter(|_| room > 0 || self.urgent)
    }

    /// These octets leave again.
    pub(crate) fn resent(&mut self, from: SeqNumber, to: SeqNumber, now: Time) {
        self.urgent = false;
        self.outstanding.resend(from, to, now);
    }

    /// RFC 8985 §7.3: the probe has left; `again` if it brought nothing new.
    pub(crate) fn probed(&mut self, again: bool) {
        self.probe = Some(Probe { end: self.outstanding.end(), again });
    }

    /// Notes what has arrived. Returns the round trip of what was acknowledged.
    fn deliver(&mut self, report: &Report<'_>, reordering: &mut Reordering) -> Option<Duration> {
        let Self { outstanding, rack, .. } = self;
        let (now, rtt) = (report.now, report.rtt);
        let (mut oldest, mut again) = (None, false);
        outstanding.acknowledge(report.number, |sent| {
            oldest = oldest.or(Some(sent.at));
            again |= sent.again;
            rack.on_delivered(now, sent, rtt, reordering);
        });
        let (una, next) = (outstanding.start(), outstanding.end());
        let offsets = |seq: SeqNumber| seq.offset_from(una);
        // What lies elsewhere is old, or a lie.
        let within = |&(start, end): &(SeqNumber, SeqNumber)| {
            0 < offsets(start) && offsets(start) < offsets(end) && offsets(end) <= offsets(next)
        };
        let mut blocks: SmallVec<[_; SackBlocks::MAX]> =
            report.sack.iter().filter(within).collect();
        blocks.sort_unstable_by_key(|block| offsets(block.0));
        for (start, end) in blocks {
            outstanding.sack(start, end, |sent| rack.on_delivered(now, sent, rtt, reordering));
        }
        oldest.filter(|_| !again).map(|at| now.since(at))
    }

    /// RFC 8985 §7.4: what became of the probe. Whether it repaired a loss.
    fn judge_probe(&mut self, report: &Report<'_>) -> bool {
        let Some(probe) = self.probe else { return false };
        let beyond = report.number.offset_from(probe.end);
        let needless = !probe.again || report.repeated || beyond == 0 && report.duplicate;
        if beyond < 0 || beyond == 0 && !needless {
            return false;
        }
        self.probe = None;
        beyond > 0 && !needless
    }

    /// Ends the episode where all is repaired.
    fn leave(&mut self, una: SeqNumber, reordering: &mut Reordering) -> bool {
        let over = self.episode.is_some_and(|episode| una.offset_from(episode.until) >= 0);
        if over {
            self.episode = None;
            self.urgent = false;
            reordering.on_recovered();
        }
        over
    }

    /// RFC 6582 §3.2: without SACK, duplicates and partial acknowledgements show the losses.
    fn count(&mut self, report: &Report<'_>, progress: bool) -> bool {
        if progress && self.is_fast() {
            self.outstanding.lose_first(report.mss);
            self.urgent = true;
        }
        if progress || !report.duplicate {
            return false;
        }
        self.duplicates = self.duplicates.saturating_add(1);
        self.duplicates == DUPLICATES
            && self.episode.is_none()
            && self.outstanding.lose_first(report.mss)
            && self.begin(false)
    }

    fn begin(&mut self, timeout: bool) -> bool {
        let fresh = self.episode.is_none();
        if fresh {
            self.episode = Some(Episode { until: self.outstanding.end(), timeout });
            self.urgent = true;
        }
        fresh
    }
}

/// RFC 2883 §4: whether the first block tells of something that arrived twice.
pub(crate) fn is_duplicate_report(number: SeqNumber, sack: &SackBlocks) -> bool {
    let mut blocks = sack.iter();
    let Some((start, end)) = blocks.next() else { return false };
    let within = |(from, to): (SeqNumber, SeqNumber)| {
        start.offset_from(from) >= 0 && end.offset_from(to) <= 0
    };
    end.offset_from(number) <= 0 || blocks.next().is_some_and(within)
}
