use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pseudotcp_masque::{AbortCode, Target};

/// How many ended flows are remembered.
const MAX_ENDS: usize = 1_024;

/// What happened to a [`Mock`](crate::Mock) so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Opens that were asked for.
    pub requested: u64,
    /// Opens that succeeded.
    pub opened: u64,
    /// Opens that failed.
    pub failed: u64,
    /// Opens whose future was dropped before it was answered.
    pub cancelled: u64,
    /// TCP flows that ended cleanly both ways.
    pub finished: u64,
    /// TCP flows that were aborted.
    pub aborted: u64,
    /// TCP flows that were dropped while a direction was still open.
    pub dropped: u64,
    /// TCP flows that the target broke.
    pub broken: u64,
    /// UDP flows that are no more.
    pub datagram_flows_ended: u64,
    /// Bytes of TCP flows that the targets received.
    pub bytes_received: u64,
    /// Bytes of TCP flows that the targets sent.
    pub bytes_sent: u64,
    /// Datagrams that the targets received.
    pub datagrams_received: u64,
    /// Datagrams that were dropped: too large, or too many waiting.
    pub datagrams_dropped: u64,
}

/// How a TCP flow ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlowEnd {
    /// Its target.
    pub target: Target,
    /// The bytes that the target received.
    pub received: u64,
    /// The bytes that the target sent.
    pub sent: u64,
    /// What ended it.
    pub ending: Ending,
}

/// What ended a TCP flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// Both directions ended cleanly.
    Finished,
    /// The caller aborted it.
    Aborted(AbortCode),
    /// The caller dropped it while a direction was still open.
    Dropped,
    /// The target broke it.
    Broken,
}

/// The record that a mock shares with its flows; touched at opens and ends, never per chunk.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    stats: Stats,
    ends: VecDeque<FlowEnd>,
}

impl Ledger {
    pub(crate) fn stats(&self) -> Stats {
        self.pages().stats
    }

    pub(crate) fn take_ends(&self) -> Vec<FlowEnd> {
        mem::take(&mut self.pages().ends).into()
    }

    pub(crate) fn record(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.pages().stats);
    }

    pub(crate) fn record_end(&self, end: FlowEnd) {
        let mut pages = self.pages();
        pages.stats.bytes_received += end.received;
        pages.stats.bytes_sent += end.sent;
        *match end.ending {
            Ending::Finished => &mut pages.stats.finished,
            Ending::Aborted(_) => &mut pages.stats.aborted,
            Ending::Dropped => &mut pages.stats.dropped,
            Ending::Broken => &mut pages.stats.broken,
        } += 1;
        if pages.ends.len() == MAX_ENDS {
            pages.ends.pop_front();
        }
        pages.ends.push_back(end);
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open that counts as cancelled when it is dropped before its end.
pub(crate) struct PendingOpen {
    ledger: Arc<Ledger>,
    finished: bool,
}

impl PendingOpen {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        ledger.record(|stats| stats.requested += 1);
        Self { ledger, finished: false }
    }

    pub(crate) fn finish(mut self, opened: bool) {
        self.finished = true;
        self.ledger.record(|stats| if opened { stats.opened += 1 } else { stats.failed += 1 });
    }
}

impl Drop for PendingOpen {
    fn drop(&mut self) {
        if !self.finished {
            self.ledger.record(|stats| stats.cancelled += 1);
        }
    }
}
