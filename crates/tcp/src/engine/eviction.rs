use std::time::Duration;

use super::Engine;
use crate::CloseCause;
use crate::clock::Time;
use crate::flow::Flow;

/// A flow that was heard of so recently is not idle.
const MIN_SILENCE: Duration = Duration::from_secs(10);
/// Flows that are looked at for one SYN.
const EXAMINED: usize = 256;

/// Room in a full table.
impl Engine {
    /// Ends a flow that is idle, by RST, so that another may begin. Whether there was one.
    ///
    /// Of the flows whose timers come next, 256 at most, those are idle that have nothing to send,
    /// nothing unread, and were silent for 10 seconds; the one silent for longest goes. Flows whose
    /// end of stream was sent wait for less time than others, so that their turn comes first.
    pub(super) fn evict(&mut self, now: Time) -> bool {
        let mut slots = Vec::new();
        for _ in 0..EXAMINED {
            let Some(slot) = self.timers.pop_first() else { break };
            if let Some(flow) = self.table.get_mut(slot) {
                flow.ledger.armed = None;
            }
            slots.push(slot);
        }
        let silence = |flow: &Flow| flow.idle_for(now).filter(|silent| *silent >= MIN_SILENCE);
        let idle = slots.iter().filter_map(|&slot| Some((silence(self.table.get(slot)?)?, slot)));
        let oldest = idle.max_by_key(|(silent, _)| *silent).map(|(_, slot)| slot);
        // Whoever was looked at gets its timer back, at its true deadline: the next look goes on
        // behind those that were not idle.
        for slot in slots {
            self.settle(now, slot);
        }
        let Some(oldest) = oldest else { return false };
        self.stats.evicted += 1;
        self.with(now, oldest, |flow, cx| flow.abort(cx, CloseCause::Evicted));
        true
    }
}
