use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use pseudotcp_packet::FlowKey;

use crate::Refusal;

/// How many refusals are remembered; the oldest is forgotten early.
const CAPACITY: usize = 4_096;

/// Refused flows, remembered for a while so that an app which repeats its datagram hears the same
/// answer at once and the proxy is not asked again.
///
/// Nothing is armed for them: every look purges what is over.
#[derive(Debug)]
pub(crate) struct Refused {
    memory: Duration,
    /// In the order of expiry, since all are remembered equally long.
    expiries: VecDeque<(Instant, FlowKey)>,
    refusals: HashMap<FlowKey, Refusal>,
}

impl Refused {
    pub(crate) fn new(memory: Duration) -> Self {
        Self { memory, expiries: VecDeque::new(), refusals: HashMap::new() }
    }

    pub(crate) fn remember(&mut self, now: Instant, flow: FlowKey, refusal: Refusal) {
        self.purge(now);
        let Some(expiry) = now.checked_add(self.memory) else { return };
        if self.expiries.len() >= CAPACITY {
            self.forget_oldest();
        }
        self.expiries.push_back((expiry, flow));
        self.refusals.insert(flow, refusal);
    }

    pub(crate) fn get(&mut self, now: Instant, flow: &FlowKey) -> Option<Refusal> {
        self.purge(now);
        self.refusals.get(flow).copied()
    }

    fn purge(&mut self, now: Instant) {
        while self.expiries.front().is_some_and(|&(expiry, _)| expiry <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, flow)) = self.expiries.pop_front() {
            self.refusals.remove(&flow);
        }
    }
}
