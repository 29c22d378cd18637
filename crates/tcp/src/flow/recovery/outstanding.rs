use std::collections::VecDeque;

use pseudotcp_packet::SeqNumber;

use crate::clock::Time;

/// The most transmissions told apart; beyond it new ones are joined with the last, and reports
/// that would part one are not taken.
const MAX_SENT: usize = 1_024;

/// What is in flight, in order and without a gap.
#[derive(Debug)]
pub(super) struct Outstanding {
    /// SND.UNA.
    start: SeqNumber,
    sent: VecDeque<Sent>,
    /// Octets reported by SACK.
    sacked: u32,
    /// Octets that were lost and wait to be sent again.
    lost: u32,
}

/// What was sent at once; it begins where the one before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) end: SeqNumber,
    /// When it left last.
    pub(super) at: Time,
    /// It left more than once.
    pub(super) again: bool,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    InFlight,
    Sacked,
    Lost,
}

impl Outstanding {
    pub(super) fn new(start: SeqNumber) -> Self {
        Self { start, sent: VecDeque::new(), sacked: 0, lost: 0 }
    }

    /// SND.UNA.
    pub(super) fn start(&self) -> SeqNumber {
        self.start
    }

    /// SND.NXT.
    pub(super) fn end(&self) -> SeqNumber {
        self.sent.back().map_or(self.start, |last| last.end)
    }

    /// The first transmission that is not acknowledged.
    pub(super) fn first(&self) -> Option<&Sent> {
        self.sent.front()
    }

    /// Octets reported by SACK.
    pub(super) fn sacked(&self) -> u32 {
        self.sacked
    }

    /// RFC 6675 §2, pipe: octets that may still be on their way.
    pub(super) fn pipe(&self) -> u32 {
        span(self.start, self.end()).saturating_sub(self.sacked).saturating_sub(self.lost)
    }

    /// New octets, up to `end`, leave.
    pub(super) fn push(&mut self, end: SeqNumber, at: Time) {
        let full = self.sent.len() >= MAX_SENT;
        match self.sent.back_mut() {
            Some(last) if full && last.fate == Fate::InFlight && !last.again => {
                (last.end, last.at) = (end, at);
            }
            _ => self.sent.push_back(Sent { end, at, again: false, fate: Fate::InFlight }),
        }
    }

    /// SND.UNA moves. `delivered` sees what arrived only now, SACK not having told before.
    pub(super) fn acknowledge(&mut self, una: SeqNumber, mut delivered: impl FnMut(&Sent)) {
        while let Some(first) = self.sent.front().copied()
            && una.offset_from(self.start) > 0
        {
            let whole = first.end.offset_from(una) <= 0;
            let to = if whole { first.end } else { una };
            self.discount(first.fate, span(self.start, to));
            self.start = to;
            if whole {
                self.sent.pop_front();
                if first.fate != Fate::Sacked {
                    delivered(&first);
                }
            }
        }
    }

    /// SACK reports a block. `delivered` sees what was not reported before.
    pub(super) fn sack(
        &mut self,
        from: SeqNumber,
        to: SeqNumber,
        mut delivered: impl FnMut(&Sent),
    ) {
        let Some((first, after)) = self.part(from, to) else { return };
        let mut start = self.start_of(first);
        for index in first..after {
            let Some(sent) = self.sent.get_mut(index) else { return };
            let (fate, len) = (sent.fate, span(start, sent.end));
            (start, sent.fate) = (sent.end, Fate::Sacked);
            if fate != Fate::Sacked {
                delivered(sent);
                self.sacked += len;
                self.discount(fate, len);
            }
        }
    }

    /// Takes for lost what `is_lost` says of what is in flight. Whether there was any.
    pub(super) fn lose(&mut self, mut is_lost: impl FnMut(&Sent) -> bool) -> bool {
        let (mut start, before) = (self.start, self.lost);
        for sent in &mut self.sent {
            if sent.fate == Fate::InFlight && is_lost(sent) {
                sent.fate = Fate::Lost;
                self.lost += span(start, sent.end);
            }
            start = sent.end;
        }
        self.lost > before
    }

    /// Takes the first `octets` for lost, so far as they are in flight. Whether there were any.
    pub(super) fn lose_first(&mut self, octets: u32) -> bool {
        let edge = self.start.advance(octets.min(span(self.start, self.end())));
        self.part(self.start, edge);
        self.lose(|sent| sent.end.offset_from(edge) <= 0)
    }

    /// RFC 2018 §8: what was reported is no longer believed.
    pub(super) fn forget_reports(&mut self) {
        for sent in &mut self.sent {
            if sent.fate == Fate::Sacked {
                sent.fate = Fate::InFlight;
            }
        }
        self.sacked = 0;
    }

    /// Whether SACK reports even the first octet, which only makes sense if it takes that back.
    pub(super) fn reneges(&self) -> bool {
        self.sent.front().is_some_and(|first| first.fate == Fate::Sacked)
    }

    /// The first octets that were lost and have not been sent again.
    pub(super) fn first_lost(&self) -> Option<(SeqNumber, u32)> {
        if self.lost == 0 {
            return None;
        }
        let is_lost = |sent: &&Sent| sent.fate == Fate::Lost;
        let index = self.sent.iter().position(|sent| is_lost(&sent))?;
        let start = self.start_of(index);
        let last = self.sent.range(index..).take_while(is_lost).last()?;
        Some((start, span(start, last.end)))
    }

    /// These octets leave again.
    pub(super) fn resend(&mut self, from: SeqNumber, to: SeqNumber, at: Time) {
        let Some((first, after)) = self.part(from, to) else { return };
        let mut start = self.start_of(first);
        for index in first..after {
            let Some(sent) = self.sent.get_mut(index) else { return };
            let (fate, len) = (sent.fate, span(start, sent.end));
            start = sent.end;
            (sent.at, sent.again) = (at, true);
            if fate == Fate::Lost {
                sent.fate = Fate::InFlight;
                self.lost -= len;
            }
        }
    }

    /// Cuts transmissions at both edges, and says which lie between.
    fn part(&mut self, from: SeqNumber, to: SeqNumber) -> Option<(usize, usize)> {
        let (first, after) = (self.cut(from)?, self.cut(to)?);
        (first < after).then_some((first, after))
    }

    /// Makes one transmission begin at `at`, and says which.
    fn cut(&mut self, at: SeqNumber) -> Option<usize> {
        let start = self.start;
        let offset = |seq: SeqNumber| seq.offset_from(start);
        let index = self.sent.partition_point(|sent| offset(sent.end) <= offset(at));
        let begin = self.start_of(index);
        if at.offset_from(begin) <= 0 {
            return Some(index);
        }
        let whole = *self.sent.get(index)?;
        if self.sent.len() >= 8 * MAX_SENT {
            return None;
        }
        self.sent.insert(index, Sent { end: at, ..whole });
        Some(index + 1)
    }

    fn start_of(&self, index: usize) -> SeqNumber {
        let before = index.checked_sub(1).and_then(|before| self.sent.get(before));
        before.map_or(self.start, |sent| sent.end)
    }

    fn discount(&mut self, fate: Fate, octets: u32) {
        match fate {
            Fate::InFlight => {}
            Fate::Sacked => self.sacked = self.sacked.saturating_sub(octets),
            Fate::Lost => self.lost = self.lost.saturating_sub(octets),
        }
    }
}

/// Octets from one number to a later one.
fn span(from: SeqNumber, to: SeqNumber) -> u32 {
    u32::try_from(to.offset_from(from)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seq(value: u32) -> SeqNumber {
        SeqNumber::new(value)
    }

    /// What the model knows of each octet.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Octet {
        Acknowledged,
        InFlight,
        Sacked,
        Lost,
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Acknowledge(u32),
        Sack(u32, u32),
        LoseFirst(u32),
        Resend,
        Forget,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            2 => (1_u32..30).prop_map(Step::Acknowledge),
            4 => (0_u32..200, 1_u32..40).prop_map(|(from, len)| Step::Sack(from, len)),
            2 => (1_u32..90).prop_map(Step::LoseFirst),
            3 => Just(Step::Resend),
            1 => Just(Step::Forget),
        ];
        prop::collection::vec(step, 1..60)
    }

    /// The engine's records beside one mark for each octet.
    struct Model {
        sent: Outstanding,
        base: SeqNumber,
        octets: Vec<Octet>,
    }

    impl Model {
        fn apply(&mut self, step: Step) {
            let una = self.octets.iter().take_while(|o| **o == Octet::Acknowledged).count();
            let end = self.octets.len();
            let at = |place: usize| self.base.advance(u32::try_from(place).unwrap());
            match step {
                Step::Acknowledge(count) => {
                    let to = (una + count as usize).min(end);
                    self.sent.acknowledge(at(to), |_| {});
                    self.octets[..to].fill(Octet::Acknowledged);
                }
                Step::Sack(from, len) => {
                    let (from, to) = ((from as usize).max(una), ((from + len) as usize).min(end));
                    if from < to {
                        self.sent.sack(at(from), at(to), |_| {});
                        self.octets[from..to].fill(Octet::Sacked);
                    }
                }
                Step::LoseFirst(count) => {
                    self.sent.lose_first(count);
                    let to = (una + count as usize).min(end);
                    self.octets[una..to]
                        .iter_mut()
                        .filter(|o| **o == Octet::InFlight)
                        .for_each(|o| *o = Octet::Lost);
                }
                Step::Resend => {
                    let Some((from, len)) = self.sent.first_lost() else { return };
                    let place = from.offset_from(self.base).unsigned_abs() as usize;
                    assert_eq!(self.octets.iter().position(|o| *o == Octet::Lost), Some(place));
                    self.sent.resend(from, from.advance(len.min(7)), Time::EPOCH);
                    self.octets[place..place + len.min(7) as usize].fill(Octet::InFlight);
                }
                Step::Forget => {
                    self.sent.forget_reports();
                    self.octets
                        .iter_mut()
                        .filter(|o| **o == Octet::Sacked)
                        .for_each(|o| *o = Octet::InFlight);
                }
            }
        }

        fn count(&self, kind: Octet) -> u32 {
            u32::try_from(self.octets.iter().filter(|octet| **octet == kind).count()).unwrap()
        }
    }

    proptest! {
        #[test]
        fn d20_behaves_as_a_mark_for_each_octet(
            base in prop_oneof![Just(u32::MAX - 90), any::<u32>()],
            steps in steps(),
        ) {
            let mut sent = Outstanding::new(seq(base));
            for n in 1..=20 {
                sent.push(seq(base).advance(10 * n), Time::EPOCH);
            }
            let mut model = Model { sent, base: seq(base), octets: vec![Octet::InFlight; 200] };
            for step in steps {
                model.apply(step);
                prop_assert_eq!(model.sent.pipe(), model.count(Octet::InFlight));
                prop_assert_eq!(model.sent.sacked(), model.count(Octet::Sacked));
                prop_assert_eq!(model.sent.lost, model.count(Octet::Lost));
            }
        }
    }

    #[test]
    fn a_flood_of_small_segments_is_joined() {
        let mut sent = Outstanding::new(seq(0));
        for n in 1..100_000 {
            sent.push(seq(n), Time::EPOCH);
        }
        assert_eq!((sent.sent.len(), sent.pipe()), (MAX_SENT, 99_999));
    }

    #[test]
    fn reports_part_what_was_sent_up_to_a_bound() {
        let mut sent = Outstanding::new(seq(0));
        sent.push(seq(1_000_000), Time::EPOCH);
        for n in 1..20_000 {
            sent.sack(seq(10 * n), seq(10 * n + 1), |_| {});
        }
        assert_eq!(sent.sent.len(), 8 * MAX_SENT);
    }

    #[test]
    fn what_arrives_is_told_once() {
        let mut sent = Outstanding::new(seq(0));
        sent.push(seq(10), Time::EPOCH);
        sent.push(seq(20), Time::EPOCH);
        let mut told = Vec::new();
        sent.sack(seq(10), seq(20), |one| told.push(one.end));
        sent.sack(seq(10), seq(20), |one| told.push(one.end));
        sent.acknowledge(seq(20), |one| told.push(one.end));
        assert_eq!(told, [seq(20), seq(10)]);
    }
}
