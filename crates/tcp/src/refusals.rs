use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;
use pseudotcp_packet::{FlowKey, Packet, Quote, SeqNumber};

use crate::clock::Time;
use crate::isn::KeyedHash;
use crate::segment::Segment;
use crate::{Refusal, reply};

/// How long a refusal is remembered: a kernel whose `connect()` could not hear it repeats the SYN
/// after one second, and shall hear the same without another open.
const MEMORY: Duration = Duration::from_millis(1_500);
/// The most refusals remembered; beyond it the oldest is forgotten.
const MAX_REMEMBERED: usize = 1_024;
/// How often one refusal is told again.
const MAX_REPEATS: u8 = 4;

/// What was refused a moment ago.
#[derive(Debug)]
pub(crate) struct Refusals {
    recent: HashMap<FlowKey, Refused, KeyedHash>,
    /// In the order of refusal.
    order: VecDeque<(Time, FlowKey)>,
}

#[derive(Debug)]
struct Refused {
    /// The number of the SYN: another one is another attempt.
    isn: SeqNumber,
    how: Refusal,
    until: Time,
    repeats: u8,
}

/// What an earlier refusal means to a SYN.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// There was none.
    Unknown,
    /// The same answer once more.
    Answer(Packet),
    /// Nothing to say any more.
    Ignore,
}

impl Refusals {
    pub(crate) fn new(hash: KeyedHash) -> Self {
        Self { recent: HashMap::with_hasher(hash), order: VecDeque::new() }
    }

    /// A SYN was refused for good.
    pub(crate) fn remember(&mut self, now: Time, key: FlowKey, isn: SeqNumber, how: Refusal) {
        self.forget(now);
        let until = now + MEMORY;
        self.recent.insert(key, Refused { isn, how, until, repeats: 0 });
        self.order.push_back((until, key));
    }

    /// What to do about a SYN.
    pub(crate) fn on_syn(&mut self, now: Time, packet: &Packet, syn: &Segment<'_>) -> Verdict {
        let same = |known: &&mut Refused| known.isn == syn.seq && now < known.until;
        let Some(known) = self.recent.get_mut(&syn.flow).filter(same) else {
            return Verdict::Unknown;
        };
        if known.repeats == MAX_REPEATS {
            return Verdict::Ignore;
        }
        known.repeats += 1;
        let error = match known.how {
            Refusal::Unreachable(cause) => Quote::of(packet).map(|quote| quote.unreachable(cause)),
            Refusal::Reset | Refusal::Later { .. } => None,
        };
        error.or_else(|| reply::reset(syn)).map_or(Verdict::Ignore, Verdict::Answer)
    }

    fn forget(&mut self, now: Time) {
        while let Some(&(until, key)) = self.order.front()
            && (until <= now || self.order.len() >= MAX_REMEMBERED)
        {
            self.order.pop_front();
            // Refused once more since: that one is remembered on its own.
            if self.recent.get(&key).is_some_and(|known| known.until == until) {
                self.recent.remove(&key);
            }
        }
        if self.order.is_empty() {
            self.recent.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isn::Purpose;
    use pseudotcp_packet::Protocol;

    #[test]
    fn memory_is_bounded_and_given_back() {
        let mut refusals = Refusals::new(KeyedHash::new([1; 16], Purpose::Table));
        let key = |port: u16| {
            FlowKey::new(Protocol::Tcp, ([10, 0, 0, 1], port).into(), ([192, 0, 2, 1], 80).into())
        };
        for port in 0..5_000 {
            refusals.remember(Time::EPOCH, key(port), SeqNumber::new(1), Refusal::Reset);
        }
        assert_eq!((refusals.recent.len(), refusals.order.len()), (1_024, 1_024));
        let later = Time::EPOCH + MEMORY;
        refusals.remember(later, key(1), SeqNumber::new(1), Refusal::Reset);
        assert_eq!((refusals.recent.len(), refusals.order.len()), (1, 1));
    }
}
