use super::Engine;
use crate::clock::Time;
use crate::{CloseCause, Event, State};

/// Starved flows that one release of bytes may wake.
const RELIEVED_AT_ONCE: usize = 8;

/// The queue of acknowledgements is not tidied up below this length.
const MIN_ACKS: usize = 256;

/// What follows from whatever happened to a flow, in one place: budget, backlog, lists, timers,
/// and its end.
impl Engine {
    pub(super) fn settle(&mut self, now: Time, slot: u32) {
        let (table, cx) = self.split(now);
        let Some(flow) = table.get_mut(slot) else { return };
        let deadline = flow.deadline(&cx);
        let over = flow.state().is_terminal() || flow.over().is_some();
        self.keep_accounts(slot);
        self.rearm(slot, deadline);
        self.queue_ack(slot);
        if over {
            self.wind_up(now, slot);
        }
    }

    /// Wakes some of the flows that waited for the budget, if it has room again.
    pub(super) fn relieve(&mut self, now: Time) {
        for _ in 0..RELIEVED_AT_ONCE {
            if self.budget.room() == 0 {
                return;
            }
            let Some(id) = self.starved.pop_front() else { return };
            let Some(slot) = self.table.resolve(id) else { continue };
            let (table, mut cx) = self.split(now);
            if let Some(flow) = table.get_mut(slot) {
                flow.ledger.waits_for_room = false;
                flow.relieve(&mut cx);
            }
            self.settle(now, slot);
        }
    }

    /// Lets flows promise more whose turn it is.
    pub(super) fn give_turns(&mut self, now: Time) {
        while let Some(id) = self.turns.next(now) {
            let Some(slot) = self.table.resolve(id) else { continue };
            let (table, mut cx) = self.split(now);
            if let Some(flow) = table.get_mut(slot) {
                flow.begin_turn(&mut cx);
            }
            self.settle(now, slot);
        }
    }

    fn keep_accounts(&mut self, slot: u32) {
        let Some(flow) = self.table.get_mut(slot) else { return };
        let (held, opening) = (flow.pinned(), flow.is_opening());
        if held != flow.ledger.charged {
            self.budget.update(flow.ledger.charged, held);
            flow.ledger.charged = held;
        }
        if opening != flow.ledger.opening {
            self.opening = if opening { self.opening + 1 } else { self.opening.saturating_sub(1) };
            flow.ledger.opening = opening;
        }
        if flow.ledger.wants_transmit && !flow.ledger.queued {
            flow.ledger.queued = true;
            self.dirty.push_back(slot);
        }
        flow.ledger.wants_transmit = false;
        self.note_starved(slot);
    }

    /// Puts a flow that the budget holds up on the list of those to wake.
    pub(super) fn note_starved(&mut self, slot: u32) {
        if let Some(flow) = self.table.get_mut(slot)
            && flow.ledger.starved
            && !flow.ledger.waits_for_room
        {
            flow.ledger.waits_for_room = true;
            self.starved.push_back(flow.id());
        }
    }

    /// A deadline that moved later stays where it is: it is looked at again when it fires.
    fn rearm(&mut self, slot: u32, deadline: Time) {
        let Some(flow) = self.table.get_mut(slot) else { return };
        if flow.ledger.armed.is_none_or(|armed| deadline < armed) {
            self.timers.rearm(slot, &mut flow.ledger.armed, Some(deadline));
        }
    }

    /// An acknowledgement begins to wait, or waits no longer.
    fn queue_ack(&mut self, slot: u32) {
        let Some(flow) = self.table.get_mut(slot) else { return };
        let due = flow.ack_due();
        if due.is_some() == flow.ledger.ack_queued {
            return;
        }
        flow.ledger.ack_queued = due.is_some();
        self.acks.extend(due.map(|due| (due, slot)));
        self.forget_acks();
    }

    /// Forgets acknowledgements that have left, so that the first is one that waits.
    fn forget_acks(&mut self) {
        let table = &self.table;
        let waits = |&(due, slot): &(Time, u32)| {
            table.get(slot).is_some_and(|flow| flow.ack_due() == Some(due))
        };
        while self.acks.pop_front_if(|first| !waits(first)).is_some() {}
        if self.acks.len() > 2 * table.len() + MIN_ACKS {
            self.acks.retain(waits);
        }
    }

    /// The connection is over: its five-tuple is free at once, its id when all has been read.
    fn wind_up(&mut self, now: Time, slot: u32) {
        let (table, mut cx) = self.split(now);
        let Some(flow) = table.get_mut(slot) else { return };
        if !flow.ledger.unlinked {
            flow.ledger.unlinked = true;
            let remains = (flow.state() == State::TimeWait).then(|| {
                let ack = flow.last_ack(&mut cx);
                cx.answer(ack);
                flow.remains(&cx)
            });
            self.table.unlink(slot);
            if let Some(remains) = remains {
                self.stats.time_waits += 1;
                self.time_wait.insert(&remains);
            }
        }
        self.bury(slot);
    }

    fn bury(&mut self, slot: u32) {
        let Some(flow) = self.table.get_mut(slot) else { return };
        let Some(cause) = flow.over() else { return };
        self.timers.rearm(slot, &mut flow.ledger.armed, None);
        self.budget.update(flow.ledger.charged, 0);
        self.stats.closed += u64::from(flow.was_opened());
        match cause {
            CloseCause::Refused => self.stats.refused += 1,
            CloseCause::Cancelled => self.stats.cancelled += 1,
            CloseCause::TimedOut => self.stats.timed_out += 1,
            _ => {}
        }
        self.outbox.events.push_back(Event::Closed { id: flow.id(), cause });
        self.table.remove(slot);
        self.forget_acks();
    }
}
