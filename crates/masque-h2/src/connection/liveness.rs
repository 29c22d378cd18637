//! Notices a connection that is connected but dead (a PING that nothing answers).

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::meter::Meter;
use super::pinger::Pinger;

/// Watches one connection while flows are open on it, or while a probe that somebody asked for is
/// under way; arms no timer otherwise.
#[derive(Debug)]
pub(crate) struct Liveness {
    silence: Duration,
    answer: Duration,
    phase: Phase,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether a probe was asked for and nothing has been heard since.
    asked: bool,
    read: u64,
    written: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// No flow is open.
    Resting,
    /// The last byte came in, or the first flow opened, then.
    Listening(Instant),
    /// A PING went out, or the peer took bytes that were queued before it, then.
    Probing(Instant),
    /// The same, and the answer is overdue by now.
    Doubting(Instant),
}

impl Liveness {
    pub(crate) fn new(silence: Duration, answer: Duration) -> Self {
        let phase = Phase::Resting;
        Self { silence, answer, phase, timer: None, asked: false, read: 0, written: 0 }
    }

    /// Ready when the connection must be taken for dead. To be called after each poll of the
    /// connection.
    pub(crate) fn poll_dead(
        &mut self,
        cx: &mut Context<'_>,
        flows_open: bool,
        meter: &Meter,
        pinger: &mut Pinger,
    ) -> Poll<()> {
        self.observe(flows_open, meter);
        loop {
            let due = match self.phase {
                Phase::Resting => {
                    self.timer = None;
                    return Poll::Pending;
                }
                Phase::Listening(since) => since + self.silence,
                Phase::Probing(since) => since + self.answer / 2,
                Phase::Doubting(since) => since + self.answer,
            };
            ready!(self.poll_timer(cx, due));
            match self.phase {
                Phase::Doubting(_) => return Poll::Ready(()),
                Phase::Probing(since) => self.phase = Phase::Doubting(since),
                Phase::Resting | Phase::Listening(_) => {
                    pinger.send(cx);
                    self.phase = Phase::Probing(Instant::now());
                }
            }
        }
    }

    /// Sends a PING now, whatever was heard before; until something is heard again the connection is
    /// in doubt.
    pub(crate) fn probe(&mut self, cx: &mut Context<'_>, meter: &Meter, pinger: &mut Pinger) {
        self.asked = true;
        self.read = meter.read();
        pinger.send(cx);
        self.phase = Phase::Doubting(Instant::now());
    }

    /// Whether an answer is overdue, or a probe that somebody asked for unanswered.
    pub(crate) fn is_doubting(&self) -> bool {
        matches!(self.phase, Phase::Doubting(_))
    }

    fn observe(&mut self, flows_open: bool, meter: &Meter) {
        let heard = std::mem::replace(&mut self.read, meter.read()) != meter.read();
        let taken = std::mem::replace(&mut self.written, meter.written()) != meter.written();
        self.asked &= !heard;
        self.phase = match self.phase {
            _ if !flows_open && !self.asked => Phase::Resting,
            Phase::Resting => Phase::Listening(Instant::now()),
            _ if heard => Phase::Listening(Instant::now()),
            Phase::Probing(_) if taken => Phase::Probing(Instant::now()),
            Phase::Doubting(_) if taken => Phase::Doubting(Instant::now()),
            phase => phase,
        };
    }

    /// Waits until `due`. An armed timer is not moved while bytes pass; it fires once too early and
    /// is then set anew.
    fn poll_timer(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;
    use crate::connection::meter::Metered;

    const SILENCE: Duration = Duration::from_secs(3);
    const ANSWER: Duration = Duration::from_secs(2);

    fn liveness() -> Liveness {
        Liveness::new(SILENCE, ANSWER)
    }

    async fn death(liveness: &mut Liveness, meter: &Meter) -> Duration {
        let begin = Instant::now();
        let mut pinger = Pinger::new(None);
        poll_fn(|cx| liveness.poll_dead(cx, true, meter, &mut pinger)).await;
        begin.elapsed()
    }

    fn is_armed(liveness: &mut Liveness, flows_open: bool, meter: &Meter) -> bool {
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let mut pinger = Pinger::new(None);
        assert!(liveness.poll_dead(cx, flows_open, meter, &mut pinger).is_pending());
        liveness.timer.is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_death_after_both_limits() {
        let meter = Meter::new(std::sync::Arc::default());
        let elapsed = death(&mut liveness(), &meter).await;
        assert!(
            elapsed >= SILENCE + ANSWER && elapsed < Duration::from_millis(5_010),
            "{elapsed:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn without_flows_no_timer_is_armed() {
        let meter = Meter::new(std::sync::Arc::default());
        let mut liveness = liveness();
        assert!(!is_armed(&mut liveness, false, &meter));
        assert!(is_armed(&mut liveness, true, &meter));
        assert!(!is_armed(&mut liveness, false, &meter));
    }

    #[tokio::test(start_paused = true)]
    async fn each_byte_heard_and_each_byte_taken_during_a_probe_puts_death_off() {
        let meter = Meter::new(std::sync::Arc::default());
        let (near, mut far) = duplex(64);
        let mut near = Metered::new(near, std::sync::Arc::clone(&meter));
        let mut liveness = liveness();
        assert!(is_armed(&mut liveness, true, &meter));
        tokio::time::sleep(Duration::from_secs(2)).await;
        far.write_u8(1).await.unwrap();
        near.read_u8().await.unwrap();
        // Heard now: probed in 3 s.
        assert!(is_armed(&mut liveness, true, &meter));
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        assert!(is_armed(&mut liveness, true, &meter));
        assert!(matches!(liveness.phase, Phase::Probing(_)));
        near.write_u8(1).await.unwrap();
        let elapsed = death(&mut liveness, &meter).await;
        assert!(elapsed >= ANSWER && elapsed < Duration::from_millis(2_010), "{elapsed:?}");
    }
}
