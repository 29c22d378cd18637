use std::time::Duration;

use super::{Acked, Congestion};
use crate::clock::Time;

/// No congestion control: the app is on this machine, so only its window counts.
///
/// DEVIATION from RFC 5681: no network lies between the engine and the app, and the device's queue
/// pushes back by itself. Only after a timeout does it begin with one segment again, and doubles
/// what is in flight with each acknowledgement until all is repaired.
#[derive(Debug)]
pub(super) struct Local {
    mss: u32,
    /// Octets that may be in flight while a timeout is being repaired; 0 at any other time.
    repair: u32,
}

impl Local {
    pub(super) fn new(mss: u32) -> Self {
        Self { mss, repair: 0 }
    }
}

impl Congestion for Local {
    fn window(&self) -> u32 {
        if self.repair == 0 { u32::MAX } else { self.repair }
    }

    fn on_ack(&mut self, ack: &Acked) {
        if self.repair > 0 {
            self.repair = self.repair.saturating_add(ack.octets);
        }
    }

    fn on_loss(&mut self, _now: Time, _flight: u32) {}

    fn on_timeout(&mut self, _flight: u32) {
        self.repair = self.mss;
    }

    fn on_recovered(&mut self) {
        self.repair = 0;
    }

    fn on_idle(&mut self) {}

    fn on_mss(&mut self, mss: u32) {
        self.mss = mss;
    }

    /// The app's machine is ours: when it is busy, what it has sent waits to be read, and losses
    /// are rare.
    fn patience(&self) -> Duration {
        Duration::from_millis(150)
    }

    fn answers_congestion(&self) -> bool {
        false
    }
}
