//! How long a round trip takes that waits behind nothing.

use std::time::Duration;

use tokio::time::Instant;

/// So much later than the shortest round trip an answer may come that waits behind nothing: its way
/// through busy processors.
const SLACK: Duration = Duration::from_millis(1);

/// How long the shortest round trip is remembered, at least; twice as long at the most.
const MEMORY: Duration = Duration::from_secs(30);

/// The round that began with the last PING.
///
/// Its answer waits behind what else the peer sends, the longer the larger the windows are: what fits into
/// such a time says nothing about the path. So a round is over as soon as the answer would have come that
/// waits behind nothing.
#[derive(Debug)]
pub(super) struct Round {
    /// When the PING was sent that is unanswered.
    sent: Option<Instant>,
    /// The shortest round trip since `since`, and in the time before.
    shortest: [Duration; 2],
    since: Instant,
}

impl Round {
    /// Without a round, and of a path that nothing is known of.
    pub(super) fn new(now: Instant) -> Self {
        Self { sent: None, shortest: [Duration::MAX; 2], since: now }
    }

    /// The PING leaves.
    pub(super) fn begin(&mut self, now: Instant) {
        self.sent = Some(now);
    }

    /// The PING is answered, if it was not before.
    pub(super) fn answered(&mut self, now: Instant) {
        let Some(sent) = self.sent.take() else { return };
        let [latest, before] = &mut self.shortest;
        if now - self.since >= MEMORY {
            *before = std::mem::replace(latest, Duration::MAX);
            self.since = now;
        }
        *latest = (now - sent).min(*latest);
    }

    /// Whether an answer that waits behind nothing would be here.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let [latest, before] = self.shortest;
        self.sent.is_none_or(|sent| now - sent > latest.min(before).saturating_add(SLACK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A round whose answer takes so long; whether it was over shortly after `after`.
    fn round(round: &mut Round, now: &mut Instant, takes: u64, after: u64) -> bool {
        round.begin(*now);
        let is_over = round.is_over(*now + Duration::from_millis(after) + SLACK / 2);
        *now += Duration::from_millis(takes);
        round.answered(*now);
        assert!(round.is_over(*now));
        is_over
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_waits_behind_data_is_not_waited_for() {
        let mut now = Instant::now();
        let mut rounds = Round::new(now);
        assert!(!round(&mut rounds, &mut now, 20, 19), "nothing is known yet");
        assert!(!round(&mut rounds, &mut now, 500, 20));
        assert!(round(&mut rounds, &mut now, 500, 21));
        assert!(round(&mut rounds, &mut now, 10, 21));
        assert!(round(&mut rounds, &mut now, 500, 11));
    }

    #[tokio::test(start_paused = true)]
    async fn a_path_that_became_longer_is_noticed() {
        let mut now = Instant::now();
        let mut rounds = Round::new(now);
        round(&mut rounds, &mut now, 20, 0);
        let begin = now;
        while round(&mut rounds, &mut now, 100, 50) {
            now += Duration::from_secs(1);
        }
        assert!((MEMORY..=2 * MEMORY + 3 * Duration::from_secs(1)).contains(&(now - begin)));
    }
}
