//! How much may be in flight besides what the app's window allows.

mod cubic;
mod local;

use std::fmt;
use std::time::Duration;

use cubic::Cubic;
use local::Local;

use crate::clock::Time;
use crate::config::CongestionControl;

/// One flow's congestion control. All sizes are octets.
pub(crate) trait Congestion: fmt::Debug + Send {
    /// How much may be on its way.
    fn window(&self) -> u32;
    /// Something was acknowledged, and no loss is being repaired but after a timeout.
    fn on_ack(&mut self, ack: &Acked);
    /// A loss was noticed without the timer, or congestion was reported, with so much in flight.
    fn on_loss(&mut self, now: Time, flight: u32);
    /// The retransmission timer fired, with so much in flight.
    fn on_timeout(&mut self, flight: u32);
    /// All losses are repaired.
    fn on_recovered(&mut self);
    /// Nothing was sent for a retransmission timeout (RFC 5681 §4.1).
    fn on_idle(&mut self);
    /// Segments have another size from now on.
    fn on_mss(&mut self, mss: u32);
    /// How much longer than a round trip an acknowledgement may take without meaning a loss.
    fn patience(&self) -> Duration;
    /// Whether a report of congestion makes a difference.
    fn answers_congestion(&self) -> bool;
}

/// An acknowledgement, as congestion control sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acked {
    pub(crate) now: Time,
    pub(crate) octets: u32,
    /// The smoothed round trip.
    pub(crate) round_trip: Duration,
    /// The congestion window, and nothing else, kept more from being sent.
    pub(crate) limited: bool,
}

/// The congestion control of a new flow.
pub(super) fn start(kind: CongestionControl, mss: u32) -> Box<dyn Congestion> {
    match kind {
        CongestionControl::Local => Box::new(Local::new(mss)),
        CongestionControl::Cubic => Box::new(Cubic::new(mss)),
    }
}
