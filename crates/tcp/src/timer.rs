use std::collections::BTreeSet;

/// Deadlines in order, at most one for each slot.
///
/// Owners re-arm lazily: a deadline that moves later stays where it is, and the owner looks again
/// when it fires. So an acknowledgement costs no timer operation.
#[derive(Debug)]
pub(crate) struct TimerQueue<T> {
    deadlines: BTreeSet<(T, u32)>,
}

impl<T> Default for TimerQueue<T> {
    fn default() -> Self {
        Self { deadlines: BTreeSet::new() }
    }
}

impl<T: Copy + Ord> TimerQueue<T> {
    /// Replaces the deadline of `slot`; `armed` is what the owner holds it to be.
    pub(crate) fn rearm(&mut self, slot: u32, armed: &mut Option<T>, deadline: Option<T>) {
        if *armed == deadline {
            return;
        }
        if let Some(old) = armed.take() {
            self.deadlines.remove(&(old, slot));
        }
        if let Some(new) = deadline {
            self.deadlines.insert((new, slot));
        }
        *armed = deadline;
    }

    /// The earliest deadline and its slot.
    pub(crate) fn first(&self) -> Option<(T, u32)> {
        self.deadlines.first().copied()
    }

    /// Takes the slot with the earliest deadline.
    pub(crate) fn pop_first(&mut self) -> Option<u32> {
        self.deadlines.pop_first().map(|(_, slot)| slot)
    }

    /// Takes the earliest slot that is due.
    pub(crate) fn pop_due(&mut self, now: T) -> Option<u32> {
        self.first().filter(|&(deadline, _)| deadline <= now)?;
        self.pop_first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_one_deadline_and_fires_in_order() {
        let mut timers = TimerQueue::default();
        let (mut a, mut b) = (None, None);
        timers.rearm(1, &mut a, Some(30));
        timers.rearm(2, &mut b, Some(20));
        timers.rearm(1, &mut a, Some(10));
        assert_eq!((timers.first(), timers.pop_due(9)), (Some((10, 1)), None));
        assert_eq!(
            (timers.pop_due(99), timers.pop_due(99), timers.pop_due(99)),
            (Some(1), Some(2), None)
        );
    }

    #[test]
    fn disarming_leaves_nothing_armed() {
        let mut timers = TimerQueue::default();
        let mut armed = None;
        timers.rearm(7, &mut armed, Some(5));
        timers.rearm(7, &mut armed, None);
        assert_eq!((armed, timers.first()), (None, None));
    }
}
