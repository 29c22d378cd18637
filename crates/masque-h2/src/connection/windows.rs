//! The receive windows of a connection: small at first, and larger where they hold flows up.
//!
//! ```text
//!   begin    64 KiB have been read since the last round: a PING leaves
//!   measure  what flows' owners take until an answer that waits behind nothing would be here is what
//!            fits into one round trip
//!   grow     as soon as a flow takes half its window within the round, or all flows half the
//!            connection's: the window would have been the limit
//! ```
//!
//! Only what owners have taken counts, so that nobody who does not read gets a larger window. The
//! window of a stream is the same for all streams of a connection: HTTP/2's library knows no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::budget::{Budget, Lease};
use super::pinger::Pinger;
use super::round::Round;

/// A flow's first window: 1 MiB.
const FIRST: u32 = 1 << 20;

/// How many flows' windows the connection's own window is made for, so that a flow that stalls does
/// not stop its neighbours.
const FLOWS: u32 = 4;

/// A round begins when so many bytes have been taken since the last one.
const BEGIN: usize = 64 * 1024;

/// The pause after a round that found the windows large enough.
const PAUSE: Duration = Duration::from_millis(50);

/// The largest windows, and what they come out of.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Of a stream, in bytes.
    pub(crate) stream: u32,
    /// Of a connection, in bytes.
    pub(crate) connection: u32,
    pub(crate) budget: Arc<Budget>,
}

/// What flows' owners take, counted for the driver.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    round: AtomicU32,
    /// What all flows have taken in this round.
    total: AtomicUsize,
    /// What the busiest of them has taken.
    busiest: AtomicUsize,
}

/// One flow's part in the gauge.
#[derive(Debug, Default)]
pub(crate) struct Share {
    round: u32,
    taken: usize,
}

impl Gauge {
    /// Counts bytes that a flow's owner has taken.
    pub(crate) fn count(&self, share: &mut Share, bytes: usize) {
        let round = self.round.load(Ordering::Relaxed);
        if share.round != round {
            *share = Share { round, taken: 0 };
        }
        share.taken += bytes;
        self.total.fetch_add(bytes, Ordering::Relaxed);
        self.busiest.fetch_max(share.taken, Ordering::Relaxed);
    }

    fn begin(&self) {
        self.round.fetch_add(1, Ordering::Relaxed);
        self.total.store(0, Ordering::Relaxed);
        self.busiest.store(0, Ordering::Relaxed);
    }
}

/// The windows of one connection.
#[derive(Debug)]
pub(crate) struct Windows {
    limits: Limits,
    /// The window of each stream.
    stream: u32,
    /// The connection's window.
    lease: Lease,
    /// What the peer has been told: of streams, and of the connection.
    told: (u32, u32),
    enlarged: bool,
    measuring: bool,
    round: Round,
    rested: Instant,
}

impl Windows {
    /// Small ones, or as large as can be had where `large` says so.
    pub(crate) fn new(limits: Limits, large: bool) -> Self {
        let first = if large { limits.stream } else { limits.stream.min(FIRST) };
        let wanted = first.saturating_mul(FLOWS).min(limits.connection);
        let lease = Lease::new(&limits.budget, wanted);
        let stream = first.min(lease.bytes());
        let told = (stream, lease.bytes());
        let rested = Instant::now();
        let round = Round::new(rested);
        Self { limits, stream, lease, told, enlarged: large, measuring: false, round, rested }
    }

    /// The window of each stream, in bytes.
    pub(crate) fn stream(&self) -> u32 {
        self.stream
    }

    /// The connection's window, in bytes.
    pub(crate) fn connection(&self) -> u32 {
        self.lease.bytes()
    }

    /// Makes the windows as large as can be had, once.
    pub(crate) fn enlarge(&mut self) {
        if !std::mem::replace(&mut self.enlarged, true) {
            self.grow_streams(self.limits.stream);
        }
    }

    /// Makes the connection's window larger, for flows that fill it; tells whether there was room.
    pub(crate) fn widen(&mut self) -> bool {
        let wanted = self.lease.bytes().saturating_mul(2).min(self.limits.connection);
        self.lease.grow_to(wanted)
    }

    /// Measures, and grows the windows that hold flows up.
    pub(crate) fn measure(&mut self, cx: &mut Context<'_>, gauge: &Gauge, pinger: &mut Pinger) {
        let total = gauge.total.load(Ordering::Relaxed);
        if !self.measuring && (total < BEGIN || self.is_largest()) {
            return;
        }
        let (now, is_answered) = (Instant::now(), !pinger.is_waiting(cx));
        if is_answered {
            self.round.answered(now);
        }
        if self.measuring {
            let busiest = gauge.busiest.load(Ordering::Relaxed);
            let held_up = busiest >= self.stream as usize / 2;
            if held_up && self.grow_streams(self.stream.saturating_mul(4))
                || total >= self.lease.bytes() as usize / 2 && self.widen()
            {
                // What more is possible shows at once.
                self.measuring = false;
                gauge.begin();
            } else if self.round.is_over(now) {
                self.measuring = false;
                self.rested = now + PAUSE;
                gauge.begin();
            }
        } else if is_answered && self.rested <= now {
            self.measuring = true;
            self.round.begin(now);
            pinger.send(cx);
            gauge.begin();
        }
    }

    /// Tells the peer what has changed, and whether the connection must be polled once more for it.
    pub(crate) fn tell<T>(&mut self, connection: &mut h2::client::Connection<T, Bytes>) -> bool
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let before = self.told;
        if self.told.1 != self.lease.bytes() {
            self.told.1 = self.lease.bytes();
            connection.set_target_window_size(self.told.1);
        }
        // Refused while earlier SETTINGS are not acknowledged; asked again then.
        if self.told.0 != self.stream && connection.set_initial_window_size(self.stream).is_ok() {
            self.told.0 = self.stream;
        }
        self.told != before
    }

    fn grow_streams(&mut self, wanted: u32) -> bool {
        let wanted = wanted.min(self.limits.stream);
        self.lease.grow_to(wanted.saturating_mul(FLOWS).min(self.limits.connection));
        let stream = wanted.min((self.lease.bytes() / FLOWS).max(self.stream));
        std::mem::replace(&mut self.stream, stream) < stream
    }

    fn is_largest(&self) -> bool {
        self.stream >= self.limits.stream && self.lease.bytes() >= self.limits.connection
    }
}
