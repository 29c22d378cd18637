use std::time::Duration;

use super::{Acked, Congestion};
use crate::clock::Time;

/// RFC 9438 §4.6: what a loss leaves of the window.
const BETA: f64 = 0.7;
/// RFC 9438 §5.1: how fast the window grows, in segments per second cubed.
const C: f64 = 0.4;
/// RFC 9438 §4.3: segments a round trip, so that the estimate is fair to Reno.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
/// RFC 5681 §3.1: the least window after a loss, in segments.
const MIN_WINDOW: f64 = 2.0;
/// More is no limit any more.
const MAX_WINDOW: f64 = 1_073_741_824.0;

/// CUBIC (RFC 9438), for apps on other hosts. Sizes are in segments.
#[derive(Debug)]
pub(super) struct Cubic {
    mss: u32,
    window: f64,
    /// ssthresh.
    threshold: f64,
    /// `W_max`: the window before the last loss.
    peak: f64,
    /// Congestion avoidance, since it began.
    epoch: Option<Epoch>,
}

/// RFC 9438 §4.1: one stage of congestion avoidance.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    began: Time,
    /// K: seconds until the window is at its peak again.
    rise: f64,
    /// Where the plateau lies.
    plateau: f64,
    /// `W_est`: what Reno would have.
    reno: f64,
}

impl Cubic {
    pub(super) fn new(mss: u32) -> Self {
        Self { mss, window: initial_window(mss), threshold: MAX_WINDOW, peak: 0.0, epoch: None }
    }

    /// RFC 5681 §3.1: exponential growth, up to the threshold.
    fn slow_start(&mut self, segments: f64) -> f64 {
        let step = segments.min((self.threshold - self.window).max(0.0));
        self.window += step;
        segments - step
    }

    /// RFC 9438 §4.2 to §4.5.
    fn avoid_congestion(&mut self, ack: &Acked, segments: f64) {
        let epoch = self.epoch.get_or_insert_with(|| Epoch::new(ack.now, self.window, self.peak));
        let alpha = if epoch.reno < self.peak { ALPHA } else { 1.0 };
        epoch.reno += alpha * segments / self.window;
        let since = ack.now.since(epoch.began);
        if epoch.at(since) < epoch.reno {
            // RFC 9438 §4.3: Reno would be faster here.
            self.window = self.window.max(epoch.reno);
        } else {
            let target = epoch.at(since + ack.round_trip).clamp(self.window, 1.5 * self.window);
            self.window += (target - self.window) * segments / self.window;
        }
    }

    /// RFC 9438 §4.6 and §4.7.
    fn reduce(&mut self, flight: u32) {
        self.epoch = None;
        // Fast convergence: whoever loses before its last peak leaves room to others.
        let converges = self.window < self.peak;
        self.peak = if converges { self.window * f64::midpoint(1.0, BETA) } else { self.window };
        let flight = f64::from(flight) / f64::from(self.mss);
        self.threshold = (flight.min(self.window) * BETA).max(MIN_WINDOW);
    }
}

impl Congestion for Cubic {
    fn window(&self) -> u32 {
        octets(self.window * f64::from(self.mss))
    }

    fn on_ack(&mut self, ack: &Acked) {
        // RFC 9438 §5.8, RFC 7661: a window that is not used says nothing about the path.
        if !ack.limited {
            self.epoch = None;
            return;
        }
        let segments = f64::from(ack.octets) / f64::from(self.mss);
        let rest = self.slow_start(segments);
        if rest > 0.0 {
            self.avoid_congestion(ack, rest);
        }
        self.window = self.window.min(MAX_WINDOW);
    }

    fn on_loss(&mut self, _now: Time, flight: u32) {
        self.reduce(flight);
        self.window = self.threshold;
    }

    fn on_timeout(&mut self, flight: u32) {
        // RFC 9438 §4.8: the loss window is one segment.
        self.reduce(flight);
        self.window = 1.0;
    }

    fn on_recovered(&mut self) {
        self.window = self.window.max(MIN_WINDOW);
    }

    fn on_idle(&mut self) {
        self.window = self.window.min(initial_window(self.mss));
        self.epoch = None;
    }

    fn on_mss(&mut self, mss: u32) {
        self.mss = mss;
    }

    /// As Linux has it: less is noise of schedulers.
    fn patience(&self) -> Duration {
        Duration::from_millis(10)
    }

    fn answers_congestion(&self) -> bool {
        true
    }
}

impl Epoch {
    fn new(began: Time, window: f64, peak: f64) -> Self {
        // RFC 9438 §4.2: K = cbrt((W_max − cwnd_epoch) / C); beyond the peak it rises at once.
        let below = (peak - window).max(0.0);
        Self { began, rise: (below / C).cbrt(), plateau: peak.max(window), reno: window }
    }

    /// `W_cubic(t) = C·(t − K)³ + W_max`.
    fn at(&self, since: Duration) -> f64 {
        C * (since.as_secs_f64() - self.rise).powi(3) + self.plateau
    }
}

/// RFC 6928 §2.
fn initial_window(mss: u32) -> f64 {
    let octets = (10 * mss).min((2 * mss).max(14_600));
    f64::from(octets) / f64::from(mss)
}

/// Whole octets of what is never negative and below 2³².
fn octets(size: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let octets = size.clamp(0.0, f64::from(u32::MAX)) as u32;
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;

    fn at(millis: u64) -> Time {
        Time::EPOCH + Duration::from_millis(millis)
    }

    fn acked(millis: u64, octets: u32) -> Acked {
        let round_trip = Duration::from_millis(100);
        Acked { now: at(millis), octets, round_trip, limited: true }
    }

    /// A whole window is acknowledged each round trip of 100 ms.
    fn rounds(cubic: &mut Cubic, from: u64, count: u64) -> Vec<u32> {
        let round = |n| {
            cubic.on_ack(&acked(from + 100 * n, cubic.window()));
            cubic.window() / MSS
        };
        (0..count).map(round).collect()
    }

    #[test]
    fn rfc_6928_the_initial_window_is_ten_segments_or_fewer() {
        assert_eq!(Cubic::new(1_000).window(), 10_000);
        assert_eq!(Cubic::new(1_460).window(), 14_600);
        assert_eq!(Cubic::new(8_960).window(), 17_920);
    }

    #[test]
    fn rfc_5681_slow_start_doubles_up_to_the_threshold() {
        let mut cubic = Cubic::new(MSS);
        assert_eq!(rounds(&mut cubic, 0, 3), [20, 40, 80]);
    }

    #[test]
    fn rfc_9438_a_loss_leaves_seven_tenths_and_the_window_returns_to_its_peak() {
        let mut cubic = Cubic::new(MSS);
        rounds(&mut cubic, 0, 3);
        cubic.on_loss(at(1_000), 80_000);
        cubic.on_recovered();
        assert_eq!(cubic.window(), 56_000);
        // RFC 9438 §4.1, §4.2, §5.1: K = cbrt(24 / 0.4) = 3.9 s: slower and slower up to the peak, and faster beyond it.
        let windows = rounds(&mut cubic, 1_000, 80);
        assert!(windows.is_sorted());
        assert!((78..=81).contains(&windows[38]), "{windows:?}");
        let gain = |from: usize, to: usize| windows[to] - windows[from];
        assert!(gain(0, 10) > gain(28, 38) && gain(65, 75) > gain(38, 48), "{windows:?}");
    }

    #[test]
    fn rfc_9438_4_7_a_second_loss_below_the_peak_gives_way() {
        let mut cubic = Cubic::new(MSS);
        rounds(&mut cubic, 0, 3);
        cubic.on_loss(at(0), 80_000);
        cubic.on_loss(at(500), 56_000);
        assert!((cubic.peak - 56.0 * 0.85).abs() < 0.01, "{}", cubic.peak);
    }

    #[test]
    fn rfc_9438_4_8_a_timeout_begins_with_one_segment() {
        let mut cubic = Cubic::new(MSS);
        rounds(&mut cubic, 0, 3);
        cubic.on_timeout(80_000);
        assert_eq!(cubic.window(), 1_000);
        assert_eq!(rounds(&mut cubic, 0, 4), [2, 4, 8, 16]);
    }

    #[test]
    fn rfc_9438_4_3_it_is_never_slower_than_reno() {
        let mut cubic = Cubic::new(MSS);
        cubic.on_loss(at(0), 10_000);
        let window = rounds(&mut cubic, 0, 20).pop().unwrap();
        assert!(window >= 7 + 10, "{window} after 20 round trips");
    }

    #[test]
    fn rfc_5681_3_1_the_least_window_is_two_segments() {
        let mut cubic = Cubic::new(MSS);
        (0..20).for_each(|_| cubic.on_loss(at(0), 1_000));
        assert_eq!(cubic.window(), 2_000);
    }

    #[test]
    fn rfc_7661_an_unused_window_does_not_grow() {
        let mut cubic = Cubic::new(MSS);
        cubic.on_ack(&Acked { limited: false, ..acked(0, 10_000) });
        assert_eq!(cubic.window(), 10_000);
        rounds(&mut cubic, 0, 3);
        cubic.on_idle();
        assert_eq!(cubic.window(), 10_000);
    }
}
