use std::time::Duration;

use crate::clock::Time;

/// What every flow may use, in octets: the largest packets are no larger.
pub(crate) const START: u32 = 64 * 1024;
/// The shortest round: below it the device and the scheduler decide how much is taken at once.
const MIN_ROUND: Duration = Duration::from_millis(10);
/// After so many rounds nothing is left of what was taken in one.
const MEMORY: u32 = 16;

/// How many octets one direction of a flow may buffer: twice what was taken out of it in its
/// busiest round, and that fades. A busy flow's share doubles within a round, an idle one's is
/// small, and so is that of a flow whose taker is slow.
///
/// A round is a round trip to the app, 10 ms at least.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// When this round began, in milliseconds that wrap around.
    began: u32,
    /// Octets taken in this round.
    taken: u32,
    /// Octets taken in the busiest round before, as far as they have not faded.
    busiest: u32,
}

impl Share {
    pub(crate) fn new(now: Time) -> Self {
        Self { began: now.timestamp(0), taken: 0, busiest: 0 }
    }

    /// So many octets were taken.
    pub(crate) fn take(&mut self, now: Time, round_trip: Duration, octets: u32) {
        let rounds = self.rounds(now, round_trip);
        if rounds > 0 {
            *self = Self { busiest: self.most(rounds), ..Self::new(now) };
        }
        self.taken = self.taken.saturating_add(octets);
    }

    /// The share, at most `limit`.
    pub(crate) fn size(&self, now: Time, round_trip: Duration, limit: u32) -> u32 {
        let useful = self.most(self.rounds(now, round_trip)).saturating_mul(2);
        useful.max(START).min(limit)
    }

    /// How many rounds have passed since this one began.
    fn rounds(&self, now: Time, round_trip: Duration) -> u32 {
        let round = u32::try_from(round_trip.max(MIN_ROUND).as_millis()).unwrap_or(u32::MAX);
        now.timestamp(0).wrapping_sub(self.began) / round
    }

    /// What was taken in the busiest round, so many rounds later.
    fn most(&self, rounds: u32) -> u32 {
        let most = self.busiest.max(self.taken);
        most.saturating_sub((most / MEMORY).saturating_mul(rounds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: u32 = 1024 * 1024;
    const NEAR: Duration = Duration::from_micros(100);

    fn at(millis: u64) -> Time {
        Time::EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn it_is_twice_what_is_taken_in_a_round_between_its_bounds() {
        let mut share = Share::new(at(0));
        assert_eq!(share.size(at(0), NEAR, LIMIT), START);
        share.take(at(1), NEAR, 50_000);
        assert_eq!(share.size(at(1), NEAR, LIMIT), 100_000);
        share.take(at(9), NEAR, 50_000);
        assert_eq!(share.size(at(9), NEAR, LIMIT), 200_000);
        assert_eq!(share.size(at(9), NEAR, 150_000), 150_000);
        assert_eq!(share.size(at(9), NEAR, 1_000), 1_000);
        share.take(at(10), NEAR, u32::MAX);
        assert_eq!(share.size(at(10), NEAR, LIMIT), LIMIT);
    }

    #[test]
    fn rounds_are_as_long_as_round_trips() {
        let far = Duration::from_millis(100);
        let mut share = Share::new(at(0));
        for n in 0..10 {
            share.take(at(n * 10), far, 10_000);
        }
        assert_eq!(share.size(at(99), far, LIMIT), 200_000);
    }

    #[test]
    fn it_fades_by_a_sixteenth_a_round_and_is_gone_after_sixteen() {
        let mut share = Share::new(at(0));
        share.take(at(0), NEAR, 160_000);
        assert_eq!(share.size(at(9), NEAR, LIMIT), 320_000);
        assert_eq!(share.size(at(10), NEAR, LIMIT), 300_000);
        share.take(at(10), NEAR, 1);
        assert_eq!(share.size(at(20), NEAR, LIMIT), 2 * (150_000 - 150_000 / 16));
        assert_eq!(share.size(at(10 + 160), NEAR, LIMIT), START);
        assert_eq!(share.size(at(1 << 40), NEAR, LIMIT), START);
    }

    proptest! {
        #[test]
        fn it_never_leaves_its_bounds_nor_exceeds_what_is_useful(
            steps in prop::collection::vec((0_u64..200, any::<u32>(), 0_u64..300), 1..50),
            limit in 1_u32..2 * LIMIT,
        ) {
            let (mut now, mut share, mut most) = (0, Share::new(at(0)), 0_u32);
            for (wait, octets, trip) in steps {
                now += wait;
                let trip = Duration::from_millis(trip);
                share.take(at(now), trip, octets);
                most = most.saturating_add(octets);
                let size = share.size(at(now), trip, limit);
                prop_assert!(size <= limit && size >= START.min(limit));
                prop_assert!(size <= most.saturating_mul(2).max(START));
            }
        }
    }
}
