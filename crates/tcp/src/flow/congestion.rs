use std::fmt;

/// How much may be in flight besides what the app's window allows.
pub(crate) trait Congestion: fmt::Debug + Send {
    /// The most bytes in flight.
    fn window(&self) -> u32;
    /// `bytes` more were acknowledged.
    fn on_ack(&mut self, bytes: u32);
    /// A loss was noticed by duplicate ACKs or SACK.
    fn on_loss(&mut self);
    /// A loss was noticed by the retransmission timer.
    fn on_timeout(&mut self);
}

/// No congestion control: the app is on this machine, so only its window counts.
///
/// DEVIATION from RFC 5681: no network lies between the engine and the app, and the device's
/// queue pushes back by itself.
#[derive(Debug)]
pub(crate) struct Local;

impl Congestion for Local {
    fn window(&self) -> u32 {
        u32::MAX
    }

    fn on_ack(&mut self, _bytes: u32) {}

    fn on_loss(&mut self) {}

    fn on_timeout(&mut self) {}
}
