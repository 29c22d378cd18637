use pseudotcp_packet::{SackBlocks, SeqNumber};

/// The most ranges remembered; what the app reports beyond them is forgotten and sent again.
const MAX_RANGES: usize = 128;
/// RFC 6675 §2: as many separate ranges above a hole mean that it was lost.
const THRESHOLD: usize = 3;

/// What the app says it has beyond SND.UNA (RFC 2018), in order and without overlap.
#[derive(Debug, Default)]
pub(crate) struct Scoreboard {
    ranges: Vec<(SeqNumber, SeqNumber)>,
}

impl Scoreboard {
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Adds the blocks that lie between SND.UNA and SND.NXT; others are old, or lies.
    pub(crate) fn report(&mut self, una: SeqNumber, next: SeqNumber, blocks: &SackBlocks) {
        let flight = next.offset_from(una);
        for (start, end) in blocks.iter() {
            let (from, to) = (start.offset_from(una), end.offset_from(una));
            if 0 < from && from < to && to <= flight {
                self.insert(una, start, end);
            }
        }
    }

    /// Forgets what lies before SND.UNA.
    pub(crate) fn acknowledge(&mut self, una: SeqNumber) {
        self.ranges.retain(|&(start, _)| start.offset_from(una) > 0);
    }

    /// The first byte at or after `from` that is not reported, and how many follow it.
    pub(crate) fn hole(&self, from: SeqNumber, end: SeqNumber) -> Option<(SeqNumber, u32)> {
        let mut at = from;
        let mut limit = end;
        for &(start, stop) in &self.ranges {
            if start.offset_from(at) > 0 {
                limit = if start.offset_from(end) < 0 { start } else { end };
                break;
            }
            if stop.offset_from(at) > 0 {
                at = stop;
            }
        }
        u32::try_from(limit.offset_from(at)).ok().filter(|&len| len > 0).map(|len| (at, len))
    }

    /// The edge below which every hole counts as lost.
    ///
    /// RFC 6675 §4, `IsLost`: three ranges, or more than two segments' bytes, arrived above it.
    pub(crate) fn lost_below(&self, mss: u32) -> Option<SeqNumber> {
        let (mut count, mut bytes) = (0, 0_u32);
        for &(start, stop) in self.ranges.iter().rev() {
            count += 1;
            bytes = bytes.saturating_add(u32::try_from(stop.offset_from(start)).unwrap_or(0));
            if count >= THRESHOLD || bytes > 2 * mss {
                return Some(start);
            }
        }
        None
    }

    fn insert(&mut self, una: SeqNumber, mut start: SeqNumber, mut end: SeqNumber) {
        let first = self.ranges.partition_point(|&(_, stop)| stop.offset_from(start) < 0);
        let after = self.ranges.partition_point(|&(begin, _)| begin.offset_from(end) <= 0);
        if let Some(touched) = self.ranges.get(first..after.max(first)) {
            let offset = |at: &SeqNumber| at.offset_from(una);
            start = touched
                .iter()
                .map(|range| range.0)
                .chain([start])
                .min_by_key(offset)
                .unwrap_or(start);
            end =
                touched.iter().map(|range| range.1).chain([end]).max_by_key(offset).unwrap_or(end);
        }
        if first < after || self.ranges.len() < MAX_RANGES {
            self.ranges.splice(first..after.max(first), [(start, end)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seq(value: u32) -> SeqNumber {
        SeqNumber::new(value)
    }

    fn board(blocks: &[(u32, u32)]) -> Scoreboard {
        let mut board = Scoreboard::default();
        for &(start, end) in blocks {
            board.report(seq(100), seq(1_000), &[(seq(start), seq(end))].into_iter().collect());
        }
        board
    }

    #[test]
    fn blocks_outside_the_flight_are_ignored() {
        assert!(board(&[(50, 90), (100, 150), (500, 400), (900, 1_001)]).is_empty());
    }

    #[test]
    fn holes_are_found_in_order() {
        let board = board(&[(200, 300), (300, 400), (600, 700)]);
        assert_eq!(board.hole(seq(100), seq(700)), Some((seq(100), 100)));
        assert_eq!(board.hole(seq(250), seq(700)), Some((seq(400), 200)));
        assert_eq!(board.hole(seq(650), seq(700)), None);
        assert_eq!(board.hole(seq(100), seq(150)), Some((seq(100), 50)));
    }

    #[test]
    fn loss_is_declared_by_ranges_or_by_bytes() {
        assert_eq!(board(&[(200, 210)]).lost_below(100), None);
        assert_eq!(board(&[(200, 401)]).lost_below(100), Some(seq(200)));
        assert_eq!(board(&[(200, 210), (300, 310), (400, 410)]).lost_below(100), Some(seq(200)));
    }

    proptest! {
        #[test]
        fn d20_behaves_as_a_bitmap(
            una in prop_oneof![Just(u32::MAX - 90), any::<u32>()],
            reports in prop::collection::vec((1_u32..200, 1_u32..60), 1..40),
        ) {
            let (una, mut there, mut board) = (seq(una), [false; 200], Scoreboard::default());
            let next = una.advance(200);
            for (from, len) in reports {
                let to = (from + len).min(200);
                there[from as usize..to as usize].fill(true);
                board.report(una, next, &[(una.advance(from), una.advance(to))].into_iter().collect());
                let mut missing = [false; 200];
                let mut at = una;
                while let Some((start, len)) = board.hole(at, next) {
                    for n in 0..len {
                        missing[start.advance(n).offset_from(una).unsigned_abs() as usize] = true;
                    }
                    at = start.advance(len);
                }
                prop_assert!(there.iter().zip(missing).all(|(there, missing)| *there != missing));
            }
        }
    }
}
