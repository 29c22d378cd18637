use std::collections::VecDeque;
use std::time::Duration;

use crate::FlowId;
use crate::clock::Time;

/// How many octets are promised in one turn.
const LENGTH: u32 = 256 * 1024;
/// A turn is over where nothing was promised for so long.
const PATIENCE: Duration = Duration::from_millis(4);
/// A window that grows while so much of it is left is no large one, and takes no turn.
const ENOUGH: u32 = 32 * 1024;

/// Whose window may grow while many apps send at once: a few flows get large windows, one after
/// another, where otherwise all would keep theirs full.
///
/// Hosts cut what they send into pieces as large as a flow's pace deserves (Linux: what it sends in
/// a millisecond, two segments at least). So a crowd of slow flows costs several times what a few
/// fast ones cost that take turns; and no more is under way than what those were promised.
///
/// A flow takes a turn when its window grows and little of it is left. While all turns are taken,
/// windows stay as they are, and a flow waits in line whose app has used up what it was promised.
#[derive(Debug)]
pub(crate) struct Turns {
    /// How many flows have a turn at once.
    most: usize,
    holders: Vec<Holder>,
    waiting: VecDeque<FlowId>,
    /// No turn is over before, where all are taken.
    review: Option<Time>,
}

/// What a flow remembers of its turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Turn {
    #[default]
    None,
    /// In line.
    Waiting,
    /// Among the holders, or was until it promised nothing for too long.
    Held,
}

#[derive(Debug)]
struct Holder {
    id: FlowId,
    /// Octets that are left of the turn.
    left: u32,
    /// When some were promised last.
    last: Time,
}

impl Turns {
    /// For `most` flows at a time.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, holders: Vec::new(), waiting: VecDeque::new(), review: None }
    }

    /// Whether the window of a flow may grow.
    pub(crate) fn allow(&self, id: FlowId, turn: Turn) -> bool {
        match self.held(id, turn) {
            Some(holder) => holder.left > 0 || self.waiting.is_empty(),
            None => turn != Turn::Waiting && self.waiting.is_empty() && self.has_room(),
        }
    }

    /// Whether some wait.
    pub(crate) fn is_crowded(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The window of a flow has grown by so many octets; it was `promised` before.
    pub(crate) fn grown(
        &mut self,
        now: Time,
        id: FlowId,
        turn: &mut Turn,
        promised: u32,
        octets: u32,
    ) {
        let held = self.holders.iter_mut().find(|holder| *turn == Turn::Held && holder.id == id);
        if let Some(holder) = held {
            holder.left = holder.left.saturating_sub(octets);
            holder.last = now;
        } else if promised < ENOUGH {
            *turn = Turn::Held;
            self.holders.push(Holder { id, left: LENGTH.saturating_sub(octets), last: now });
        }
    }

    /// A flow goes to the end of the line, and gives up the turn that it had.
    pub(crate) fn wait(&mut self, id: FlowId, turn: &mut Turn) {
        if *turn != Turn::Waiting {
            self.holders.retain(|holder| holder.id != id);
            self.waiting.push_back(id);
            *turn = Turn::Waiting;
        }
    }

    /// The first in line, if a turn is free.
    pub(crate) fn next(&mut self, now: Time) -> Option<FlowId> {
        if self.waiting.is_empty() {
            self.review = None;
            return None;
        }
        if !self.has_room() && self.review.is_none_or(|review| review <= now) {
            self.holders.retain(|holder| holder.last + PATIENCE > now);
            let over = self.holders.iter().map(|holder| holder.last + PATIENCE).min();
            self.review = over.filter(|_| !self.has_room());
        }
        if self.has_room() { self.waiting.pop_front() } else { None }
    }

    /// It is the turn of a flow that has waited.
    pub(crate) fn begin(&mut self, now: Time, id: FlowId, turn: &mut Turn) {
        *turn = Turn::Held;
        self.holders.push(Holder { id, left: LENGTH, last: now });
    }

    /// When to ask for the [`next`](Self::next) again.
    pub(crate) fn review(&self) -> Option<Time> {
        self.review
    }

    fn has_room(&self) -> bool {
        self.holders.len() < self.most
    }

    fn held(&self, id: FlowId, turn: Turn) -> Option<&Holder> {
        self.holders.iter().find(|holder| turn == Turn::Held && holder.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOLDERS: usize = 16;
    const LARGE: u32 = 64 * 1024;

    fn at(millis: u64) -> Time {
        Time::EPOCH + Duration::from_millis(millis)
    }

    /// Some flows that all do as their turn allows.
    struct Flows {
        turns: Turns,
        each: Vec<Turn>,
    }

    impl Flows {
        fn new(count: usize) -> Self {
            Self { turns: Turns::new(HOLDERS), each: vec![Turn::None; count] }
        }

        fn id(flow: usize) -> FlowId {
            FlowId::new(flow.try_into().unwrap(), 0)
        }

        /// The app of a flow has used up its window: it grows by so much, or waits.
        fn ask(&mut self, now: Time, flow: usize, octets: u32) -> bool {
            let (id, turn) = (Self::id(flow), &mut self.each[flow]);
            let may_grow = self.turns.allow(id, *turn);
            if may_grow {
                self.turns.grown(now, id, turn, 0, octets);
            } else {
                self.turns.wait(id, turn);
            }
            may_grow
        }

        /// Whose turn it is now.
        fn next(&mut self, now: Time) -> Vec<usize> {
            let mut begun = Vec::new();
            while let Some(id) = self.turns.next(now) {
                let flow = id.slot() as usize;
                self.turns.begin(now, id, &mut self.each[flow]);
                begun.push(flow);
            }
            begun
        }
    }

    #[test]
    fn few_flows_go_on_for_ever() {
        let mut flows = Flows::new(HOLDERS);
        for _ in 0..100 {
            assert!((0..HOLDERS).all(|flow| flows.ask(at(0), flow, LARGE)));
        }
        assert_eq!((flows.next(at(0)), flows.turns.review()), (vec![], None));
    }

    #[test]
    fn one_more_waits_until_a_turn_is_used_up() {
        let mut flows = Flows::new(HOLDERS + 1);
        for flow in 0..HOLDERS {
            assert!(flows.ask(at(0), flow, LENGTH - 1));
        }
        assert!(!flows.ask(at(0), HOLDERS, LARGE));
        assert_eq!(flows.next(at(0)), []);
        assert!(flows.ask(at(0), 3, 1));
        assert!(!flows.ask(at(0), 3, 1));
        assert_eq!(flows.next(at(0)), [HOLDERS]);
        assert!(!flows.turns.allow(Flows::id(3), flows.each[3]));
    }

    #[test]
    fn who_does_nothing_loses_its_turn() {
        let mut flows = Flows::new(HOLDERS + 2);
        for flow in 0..HOLDERS {
            flows.ask(at(0), flow, LARGE);
        }
        flows.ask(at(2), HOLDERS, LARGE);
        flows.ask(at(3), 5, LARGE);
        assert_eq!((flows.next(at(3)), flows.turns.review()), (vec![], Some(at(4))));
        flows.ask(at(3), HOLDERS + 1, LARGE);
        assert_eq!(flows.next(at(4)), [HOLDERS, HOLDERS + 1]);
        assert!(flows.turns.allow(Flows::id(5), flows.each[5]), "it was promised something");
        assert!(flows.ask(at(4), 6, LARGE), "its turn is over, but another is free");
        assert_eq!((flows.next(at(4)), flows.turns.review()), (vec![], None));
    }

    #[test]
    fn a_window_that_is_hardly_used_takes_no_turn() {
        let mut flows = Flows::new(1);
        flows.turns.grown(at(0), Flows::id(0), &mut flows.each[0], ENOUGH, 1);
        assert_eq!((flows.each[0], flows.turns.holders.len()), (Turn::None, 0));
    }

    proptest! {
        #[test]
        fn everyone_has_a_turn_in_the_order_of_the_line(
            steps in prop::collection::vec((0_usize..40, 0_u64..3, 1_u32..LENGTH), 1..400),
        ) {
            let (mut flows, mut now, mut line) = (Flows::new(40), 0, VecDeque::new());
            for (flow, wait, octets) in steps {
                now += wait;
                let waited = flows.each[flow] == Turn::Waiting;
                if !flows.ask(at(now), flow, octets) && !waited {
                    line.push_back(flow);
                }
                for begun in flows.next(at(now)) {
                    prop_assert_eq!(line.pop_front(), Some(begun));
                }
                prop_assert!(flows.turns.holders.len() <= HOLDERS);
                let waits = flows.turns.is_crowded();
                prop_assert_eq!(flows.turns.review().is_some(), waits);
            }
            // All is quiet: whoever waits needs no other's help.
            let mut looks = 0;
            while let Some(review) = flows.turns.review() {
                for begun in flows.next(review) {
                    prop_assert_eq!(line.pop_front(), Some(begun));
                }
                looks += 1;
                prop_assert!(looks < 40);
            }
            prop_assert!(line.is_empty());
        }
    }
}
