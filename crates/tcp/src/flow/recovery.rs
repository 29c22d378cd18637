use pseudotcp_packet::{SackBlocks, SeqNumber};

use super::scoreboard::Scoreboard;

/// RFC 5681 §3.2: the duplicate ACKs that mean a loss.
const DUPLICATES: u8 = 3;
/// The most segments sent again at once after a timeout.
const MAX_ALLOWANCE: u32 = 1 << 10;

/// What is to be sent again, and why.
///
/// Everything not reported between `resend` and `lost` is taken for lost. Duplicate ACKs move
/// `lost` one segment beyond each partial ACK (RFC 6582), SACK moves it below what has arrived
/// (RFC 6675), a timeout begins anew at SND.UNA and doubles with each ACK.
#[derive(Debug)]
pub(crate) struct Recovery {
    /// SND.NXT when the loss was noticed: recovery ends when it is acknowledged.
    point: Option<SeqNumber>,
    resend: SeqNumber,
    lost: SeqNumber,
    duplicates: u8,
    /// Segments that may be sent again at once after a timeout; 0 in a recovery without one.
    allowance: u32,
    scoreboard: Option<Box<Scoreboard>>,
}

impl Recovery {
    pub(crate) fn new(start: SeqNumber) -> Self {
        Self {
            point: None,
            resend: start,
            lost: start,
            duplicates: 0,
            allowance: 0,
            scoreboard: None,
        }
    }

    /// The timer has fired and the losses are being repaired: no new data meanwhile.
    pub(crate) fn after_timeout(&self) -> bool {
        self.point.is_some() && self.allowance > 0
    }

    /// The app reported blocks.
    pub(crate) fn on_sack(&mut self, una: SeqNumber, next: SeqNumber, blocks: &SackBlocks) {
        if !blocks.is_empty() {
            self.scoreboard.get_or_insert_default().report(una, next, blocks);
        }
    }

    /// SND.UNA moved.
    pub(crate) fn on_progress(&mut self, una: SeqNumber, mss: u32) {
        self.duplicates = 0;
        if let Some(board) = &mut self.scoreboard {
            board.acknowledge(una);
        }
        if self.scoreboard.as_ref().is_some_and(|board| board.is_empty()) {
            self.scoreboard = None;
        }
        match self.point {
            Some(point) if una.offset_from(point) < 0 => {
                self.allowance = (2 * self.allowance).min(MAX_ALLOWANCE);
                let reach = una.advance(mss.saturating_mul(self.allowance.max(1)));
                self.lost = earlier(later(self.lost, reach), point);
            }
            _ => *self = Self { scoreboard: self.scoreboard.take(), ..Self::new(una) },
        }
    }

    /// A duplicate ACK arrived. Whether it begins a recovery.
    pub(crate) fn on_duplicate(&mut self, una: SeqNumber, next: SeqNumber, mss: u32) -> bool {
        self.duplicates = self.duplicates.saturating_add(1);
        self.duplicates == DUPLICATES && self.begin(una, next, una.advance(mss))
    }

    /// Looks at what was reported. Whether that begins a recovery.
    pub(crate) fn detect(&mut self, una: SeqNumber, next: SeqNumber, mss: u32) -> bool {
        let Some(edge) = self.scoreboard.as_ref().and_then(|board| board.lost_below(mss)) else {
            return false;
        };
        if self.point.is_some() {
            self.lost = later(self.lost, edge);
            return false;
        }
        self.begin(una, next, edge)
    }

    /// The retransmission timer fired.
    pub(crate) fn on_timeout(&mut self, una: SeqNumber, next: SeqNumber, mss: u32) {
        // RFC 2018 §8: after a timeout what was reported counts no longer.
        *self = Self { point: Some(next), allowance: 1, ..Self::new(una) };
        self.lost = earlier(una.advance(mss), next);
    }

    /// What is in flight did not fit the path.
    pub(crate) fn on_too_big(&mut self, una: SeqNumber, next: SeqNumber) {
        let scoreboard = self.scoreboard.take();
        *self = Self { point: Some(next), lost: next, scoreboard, ..Self::new(una) };
    }

    /// The next stretch to send again.
    pub(crate) fn hole(&self, una: SeqNumber) -> Option<(SeqNumber, u32)> {
        self.point?;
        let from = later(self.resend, una);
        if let Some(board) = &self.scoreboard {
            return board.hole(from, self.lost);
        }
        let len = u32::try_from(self.lost.offset_from(from)).ok()?;
        (len > 0).then_some((from, len))
    }

    /// Everything before `end` was sent again.
    pub(crate) fn resent(&mut self, end: SeqNumber) {
        self.resend = end;
    }

    fn begin(&mut self, una: SeqNumber, next: SeqNumber, lost: SeqNumber) -> bool {
        if self.point.is_some() || next.offset_from(una) <= 0 {
            return false;
        }
        self.point = Some(next);
        self.resend = una;
        self.lost = earlier(lost, next);
        self.allowance = 0;
        true
    }
}

fn later(a: SeqNumber, b: SeqNumber) -> SeqNumber {
    if a.offset_from(b) > 0 { a } else { b }
}

fn earlier(a: SeqNumber, b: SeqNumber) -> SeqNumber {
    if a.offset_from(b) < 0 { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seq(value: u32) -> SeqNumber {
        SeqNumber::new(value)
    }

    #[test]
    fn the_third_duplicate_begins_and_partial_acks_go_on() {
        let mut recovery = Recovery::new(seq(0));
        assert!(!recovery.on_duplicate(seq(0), seq(100), 10));
        assert!(!recovery.on_duplicate(seq(0), seq(100), 10));
        assert!(recovery.on_duplicate(seq(0), seq(100), 10));
        assert_eq!(recovery.hole(seq(0)), Some((seq(0), 10)));
        recovery.resent(seq(10));
        assert_eq!(recovery.hole(seq(0)), None);
        recovery.on_progress(seq(40), 10);
        assert_eq!(recovery.hole(seq(40)), Some((seq(40), 10)));
        recovery.on_progress(seq(100), 10);
        assert_eq!(recovery.hole(seq(100)), None);
    }

    #[test]
    fn sack_sends_every_hole_once() {
        let mut recovery = Recovery::new(seq(0));
        recovery.on_sack(
            seq(0),
            seq(100),
            &[(seq(10), seq(20)), (seq(30), seq(70))].into_iter().collect(),
        );
        assert!(recovery.detect(seq(0), seq(100), 10));
        assert_eq!(recovery.hole(seq(0)), Some((seq(0), 10)));
        recovery.resent(seq(10));
        assert_eq!(recovery.hole(seq(0)), Some((seq(20), 10)));
        recovery.resent(seq(30));
        assert!(!recovery.detect(seq(0), seq(100), 10));
        assert_eq!(recovery.hole(seq(0)), None);
    }

    #[test]
    fn a_timeout_starts_with_one_segment_and_doubles() {
        let mut recovery = Recovery::new(seq(0));
        recovery.on_timeout(seq(0), seq(100), 10);
        assert_eq!((recovery.hole(seq(0)), recovery.after_timeout()), (Some((seq(0), 10)), true));
        recovery.resent(seq(10));
        recovery.on_progress(seq(10), 10);
        assert_eq!(recovery.hole(seq(10)), Some((seq(10), 20)));
        recovery.on_progress(seq(100), 10);
        assert!(!recovery.after_timeout());
    }
}
