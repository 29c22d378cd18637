use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use pseudotcp_packet::SeqNumber;

/// The most runs kept; a segment that would need one more is dropped and sent again.
const MAX_RUNS: usize = 512;
/// The longest run: a longer one is continued by the next.
const MAX_RUN: usize = 64 * 1024;
/// What a run costs beside its octets: its place in the list, which grows by doubling.
const OVERHEAD: usize = 2 * size_of::<Run>();
/// RFC 2018 §3: the most SACK blocks an option holds.
const MAX_BLOCKS: usize = 4;

/// Bytes that arrived ahead of a gap, copied out of the buffers in which they came.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// In order, without overlap.
    runs: VecDeque<Run>,
    len: usize,
    /// Of all runs together.
    capacity: usize,
    /// Where the latest segments began, newest first.
    recent: Vec<SeqNumber>,
}

#[derive(Debug)]
struct Run {
    start: SeqNumber,
    data: BytesMut,
}

impl Run {
    /// One past its last byte, as the distance from `base`.
    fn end(&self, base: SeqNumber) -> usize {
        distance(self.start, base) + self.data.len()
    }
}

impl Assembler {
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The number of bytes held.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Octets of memory that it takes.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity + self.runs.len() * OVERHEAD
    }

    /// One past the last byte held.
    pub(crate) fn end(&self) -> Option<SeqNumber> {
        self.runs.back().map(|run| run.start.advance(len_u32(run.data.len())))
    }

    /// The first octets between two numbers, both beyond `next`, that are held.
    pub(crate) fn known(
        &self,
        next: SeqNumber,
        from: SeqNumber,
        to: SeqNumber,
    ) -> Option<(SeqNumber, SeqNumber)> {
        let first = self.runs.partition_point(|run| run.end(next) <= distance(from, next));
        let run = self.runs.get(first).filter(|run| to.offset_from(run.start) > 0)?;
        let start = if from.offset_from(run.start) > 0 { from } else { run.start };
        let (_, end) = self.block_at(start)?;
        Some((start, if end.offset_from(to) > 0 { to } else { end }))
    }

    /// Keeps what of `data`, which begins at `seq`, is new; `next` is RCV.NXT, at or before `seq`.
    /// Returns how many bytes were new.
    pub(crate) fn insert(&mut self, next: SeqNumber, seq: SeqNumber, data: &[u8]) -> usize {
        let before = self.len;
        let (mut at, mut rest) = (distance(seq, next), data);
        let mut index = self.runs.partition_point(|run| run.end(next) <= at);
        while !rest.is_empty() {
            let known = self.runs.get(index).map(|run| (distance(run.start, next), run.end(next)));
            let step = match known {
                Some((start, end)) if start <= at => {
                    index += 1;
                    end - at
                }
                following => {
                    let room = following.map_or(rest.len(), |(start, _)| start - at);
                    let piece = rest.get(..room).unwrap_or(rest);
                    match self.store(index, next, at, piece) {
                        Some(inserted) => index += inserted,
                        None => break,
                    }
                    piece.len()
                }
            };
            at += step;
            rest = rest.get(step..).unwrap_or_default();
        }
        self.remember(seq);
        self.len - before
    }

    /// The run that continues the stream at `next`, if it has arrived.
    pub(crate) fn pop(&mut self, next: SeqNumber) -> Option<Bytes> {
        while self.runs.front().is_some_and(|run| run.start.offset_from(next) <= 0) {
            let mut run = self.runs.pop_front()?;
            self.len -= run.data.len();
            self.capacity -= run.data.capacity();
            let old = distance(next, run.start).min(run.data.len());
            let _known = run.data.split_to(old);
            if !run.data.is_empty() {
                return Some(run.data.freeze());
            }
        }
        None
    }

    /// What to report by SACK, the block with the latest segment first.
    ///
    /// RFC 2018 §4: then the blocks that were reported latest.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (SeqNumber, SeqNumber)> {
        let mut seen: [Option<(SeqNumber, SeqNumber)>; MAX_BLOCKS] = [None; MAX_BLOCKS];
        let mut slots = seen.iter_mut();
        let mut told: Vec<SeqNumber> = Vec::new();
        for block in self.recent.iter().filter_map(|&seq| self.block_at(seq)) {
            if !told.contains(&block.0)
                && let Some(slot) = slots.next()
            {
                told.push(block.0);
                *slot = Some(block);
            }
        }
        seen.into_iter().flatten()
    }

    /// Adds a piece that touches no other before the run at `index`: 1 where that made a new run,
    /// 0 where it lengthened the one before, `None` where there is no room.
    fn store(&mut self, index: usize, next: SeqNumber, at: usize, piece: &[u8]) -> Option<usize> {
        let before = index.checked_sub(1).and_then(|i| self.runs.get_mut(i));
        let room = |run: &Run| run.data.len() + piece.len() <= MAX_RUN;
        if let Some(run) = before.filter(|run| run.end(next) == at && room(run)) {
            let before = run.data.capacity();
            run.data.extend_from_slice(piece);
            self.capacity += run.data.capacity() - before;
            self.len += piece.len();
            return Some(0);
        }
        if self.runs.len() >= MAX_RUNS {
            return None;
        }
        let start = next.advance(u32::try_from(at).ok()?);
        let data = BytesMut::from(piece);
        self.capacity += data.capacity();
        self.runs.insert(index, Run { start, data });
        self.len += piece.len();
        Some(1)
    }

    fn remember(&mut self, seq: SeqNumber) {
        self.recent.retain(|&known| known != seq);
        self.recent.truncate(2 * MAX_BLOCKS);
        self.recent.insert(0, seq);
    }

    /// The edges of the contiguous bytes around `seq`.
    fn block_at(&self, seq: SeqNumber) -> Option<(SeqNumber, SeqNumber)> {
        let holds = |run: &Run| seq.in_window(run.start, len_u32(run.data.len()));
        let mut first = self.runs.iter().position(holds)?;
        let mut last = first;
        let run = |index: usize| self.runs.get(index);
        let edge = |run: &Run| run.start.advance(len_u32(run.data.len()));
        while let Some(previous) = first.checked_sub(1)
            && run(previous).map(edge) == run(first).map(|run| run.start)
        {
            first = previous;
        }
        while run(last + 1).is_some_and(|after| run(last).map(edge) == Some(after.start)) {
            last += 1;
        }
        Some((run(first)?.start, run(last).map(edge)?))
    }
}

/// How far `seq` lies beyond `base`; 0 where it lies before.
fn distance(seq: SeqNumber, base: SeqNumber) -> usize {
    usize::try_from(seq.offset_from(base)).unwrap_or(0)
}

fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seq(value: u32) -> SeqNumber {
        SeqNumber::new(value)
    }

    fn blocks(assembler: &Assembler) -> Vec<(u32, u32)> {
        assembler.blocks().map(|(start, end)| (start.to_u32(), end.to_u32())).collect()
    }

    #[test]
    fn the_latest_block_is_reported_first_and_neighbours_as_one() {
        let mut assembler = Assembler::default();
        for start in [20, 40, 10, 60, 80, 100] {
            assembler.insert(seq(0), seq(start), &[0; 5]);
        }
        assert_eq!(blocks(&assembler), [(100, 105), (80, 85), (60, 65), (10, 15)]);
        assembler.insert(seq(0), seq(15), &[0; 5]);
        assert_eq!(blocks(&assembler)[0], (10, 25));
    }

    #[test]
    fn runs_are_bounded() {
        let mut assembler = Assembler::default();
        for n in 0..2 * len_u32(MAX_RUNS) {
            assembler.insert(seq(0), seq(2 * n + 1), b"x");
        }
        assert_eq!((assembler.runs.len(), assembler.len()), (MAX_RUNS, MAX_RUNS));
    }

    #[test]
    fn runs_that_follow_each_other_are_joined_up_to_a_length() {
        let mut assembler = Assembler::default();
        for start in [1, len_u32(MAX_RUN), len_u32(MAX_RUN) + 1] {
            let len = if start == 1 { MAX_RUN - 1 } else { 1 };
            assembler.insert(seq(0), seq(start), &vec![0; len]);
        }
        let lengths: Vec<usize> = assembler.runs.iter().map(|run| run.data.len()).collect();
        assert_eq!(lengths, [MAX_RUN, 1]);
    }

    proptest! {
        /// Against a bitmap of the window, near the wrap-around too (D18, D20).
        #[test]
        fn d18_d20_behaves_as_a_bitmap(
            base in prop_oneof![Just(u32::MAX - 200), any::<u32>()],
            steps in prop::collection::vec((0_usize..500, 1_usize..90), 1..60),
        ) {
            let stream: Vec<u8> = (0..600_usize).map(|n| n.to_le_bytes()[0]).collect();
            let (mut assembler, mut there, mut done) = (Assembler::default(), [false; 600], 0);
            for (from, len) in steps {
                let from = from.max(done);
                let to = (from + len).min(600);
                let next = SeqNumber::new(base).advance(len_u32(done));
                let fresh = there[from..to].iter().filter(|&&bit| !bit).count();
                let was_there = there;
                there[from..to].fill(true);
                let at = |octet: usize| SeqNumber::new(base).advance(len_u32(octet));
                let known = (from..to).find(|&octet| was_there[octet]).map(|first| {
                    let end = (first..to).find(|&octet| !was_there[octet]).unwrap_or(to);
                    (at(first), at(end))
                });
                prop_assert_eq!(assembler.known(next, at(from), at(to)), known);
                prop_assert_eq!(assembler.insert(next, at(from), &stream[from..to]), fresh);
                let capacity = assembler.runs.iter().map(|run| run.data.capacity()).sum::<usize>();
                prop_assert_eq!(assembler.capacity, capacity);
                prop_assert!(assembler.recent.len() <= 2 * MAX_BLOCKS + 1);
                while let Some(run) = assembler.pop(SeqNumber::new(base).advance(len_u32(done))) {
                    prop_assert_eq!(&run[..], &stream[done..done + run.len()]);
                    done += run.len();
                }
                prop_assert!(there[..done].iter().all(|&bit| bit) && there.get(done) != Some(&true));
                prop_assert_eq!(assembler.len(), there[done..].iter().filter(|&&bit| bit).count());
                for (start, end) in assembler.blocks() {
                    let edge = |at: SeqNumber| distance(at, SeqNumber::new(base));
                    prop_assert!(there[edge(start)..edge(end)].iter().all(|&bit| bit));
                    prop_assert!(!there[edge(start) - 1] && there.get(edge(end)) != Some(&true));
                }
            }
        }
    }
}
