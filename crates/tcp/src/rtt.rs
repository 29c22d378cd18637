use std::time::Duration;

/// RFC 6298 §2.1: the timeout before anything was measured.
const INITIAL: Duration = Duration::from_secs(1);
/// RFC 6298 §5.7: the timeout of the first data where even the SYN had to be sent again.
const AFTER_LOST_SYN: Duration = Duration::from_secs(3);
/// DEVIATION from RFC 6298 §2.4 (1 s): the app is one hop away, and Linux uses the same floor.
const MIN: Duration = Duration::from_millis(200);
/// RFC 6298 §2.5: a ceiling of at least 60 s.
const MAX: Duration = Duration::from_mins(1);
/// Doublings after which the ceiling is reached in any case.
const MAX_BACK_OFF: u8 = 12;

/// Round-trip time and retransmission timeout (RFC 6298), in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RttEstimator {
    measured: bool,
    smoothed: u32,
    variation: u32,
    least: u32,
    back_off: u8,
    /// A SYN-ACK was lost.
    lost_syn: bool,
}

impl RttEstimator {
    /// RFC 6298 §2.2 and §2.3.
    pub(crate) fn sample(&mut self, rtt: Duration) {
        let rtt = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX / 8).min(u32::MAX / 8);
        self.least = if self.measured { self.least.min(rtt) } else { rtt };
        if self.measured {
            let error = self.smoothed.abs_diff(rtt);
            self.variation = self.variation - self.variation / 4 + error / 4;
            self.smoothed = self.smoothed - self.smoothed / 8 + rtt / 8;
        } else {
            (self.measured, self.back_off) = (true, 0);
            (self.smoothed, self.variation) = (rtt, rtt / 2);
        }
    }

    pub(crate) fn is_measured(&self) -> bool {
        self.measured
    }

    /// SRTT; nothing where nothing was measured.
    pub(crate) fn smoothed(&self) -> Duration {
        Duration::from_micros(self.smoothed.into())
    }

    /// The least round trip measured.
    pub(crate) fn least(&self) -> Duration {
        Duration::from_micros(self.least.into())
    }

    /// The timer of a SYN-ACK has fired.
    pub(crate) fn on_lost_syn(&mut self) {
        self.lost_syn = true;
    }

    /// The retransmission timeout, backed off.
    pub(crate) fn timeout(&self) -> Duration {
        let base = if self.measured {
            let micros = u64::from(self.smoothed) + 4 * u64::from(self.variation);
            Duration::from_micros(micros).max(MIN)
        } else if self.lost_syn && self.back_off == 0 {
            AFTER_LOST_SYN
        } else {
            INITIAL
        };
        base.saturating_mul(1 << self.back_off).min(MAX)
    }

    /// RFC 6298 §5.5: the timer has fired.
    pub(crate) fn back_off(&mut self) {
        self.back_off = (self.back_off + 1).min(MAX_BACK_OFF);
    }

    /// New data was acknowledged: the path lives.
    pub(crate) fn recover(&mut self) {
        self.back_off = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_at_one_second_and_doubles_to_the_ceiling() {
        let mut rtt = RttEstimator::default();
        let mut seen = Vec::new();
        for _ in 0..8 {
            seen.push(rtt.timeout().as_secs());
            rtt.back_off();
        }
        assert_eq!(seen, [1, 2, 4, 8, 16, 32, 60, 60]);
        (0..99).for_each(|_| rtt.back_off());
        assert_eq!(rtt.timeout(), MAX);
        rtt.recover();
        assert_eq!(rtt.timeout(), INITIAL);
    }

    #[test]
    fn follows_the_samples_and_has_a_floor() {
        let mut rtt = RttEstimator::default();
        rtt.sample(Duration::from_millis(400));
        assert_eq!(rtt.timeout(), Duration::from_millis(400 + 4 * 200));
        for _ in 0..200 {
            rtt.sample(Duration::from_micros(50));
        }
        assert_eq!(rtt.timeout(), MIN);
    }
}
