use std::collections::BTreeSet;
use std::time::Instant;

use crate::FlowId;

/// When to look at which flow again: at most one entry a flow, in the order of time.
///
/// Entries are re-armed lazily. Traffic only notes the time in its flow; the entry stays where it
/// is, and moves on when it comes due. So a datagram costs no timer operation, and a busy flow one
/// per idle timeout.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    entries: BTreeSet<(Instant, FlowId)>,
}

impl Idle {
    pub(crate) fn arm(&mut self, at: Instant, id: FlowId) {
        self.entries.insert((at, id));
    }

    pub(crate) fn disarm(&mut self, at: Instant, id: FlowId) {
        self.entries.remove(&(at, id));
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.entries.first().map(|&(at, _)| at)
    }

    /// Takes one entry that is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<FlowId> {
        self.next().filter(|&at| at <= now)?;
        self.entries.pop_first().map(|(_, id)| id)
    }
}
