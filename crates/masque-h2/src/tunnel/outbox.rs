//! The datagrams that wait for room at the proxy.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pseudotcp_masque::datagram::{Format, MAX_PAYLOAD};
use tokio::time::Instant;

use crate::state::{Counters, count};

/// How many datagrams wait at the most.
pub(super) const MAX_WAITING: usize = 64;

/// How long a datagram waits for room at the proxy; later it would only disturb.
const MAX_WAIT: Duration = Duration::from_millis(50);

/// A queue that never makes anybody wait: what is too much or too late is dropped and counted.
pub(super) struct Outbox {
    format: Format,
    /// Since when each datagram waits.
    waiting: VecDeque<(Instant, Bytes)>,
    counters: Arc<Counters>,
}

impl Outbox {
    pub(super) fn new(format: Format, counters: Arc<Counters>) -> Self {
        Self { format, waiting: VecDeque::new(), counters }
    }

    pub(super) fn push(&mut self, datagram: Bytes) {
        let too_large = datagram.len() > MAX_PAYLOAD;
        if too_large || self.waiting.len() == MAX_WAITING {
            count(&self.counters.datagrams_dropped, 1);
        }
        if !too_large {
            if self.waiting.len() == MAX_WAITING {
                self.waiting.pop_front();
            }
            self.waiting.push_back((Instant::now(), datagram));
        }
    }

    /// Drops what is late; tells how many bytes the rest takes as capsules.
    pub(super) fn wanted(&mut self) -> usize {
        let now = Instant::now();
        while self.waiting.front().is_some_and(|(since, _)| now - *since > MAX_WAIT) {
            self.waiting.pop_front();
            count(&self.counters.datagrams_dropped, 1);
        }
        self.waiting.iter().map(|(_, datagram)| self.format.encoded_len(datagram.len())).sum()
    }

    /// The capsules of as many datagrams as fit into `room`, and of one at least.
    pub(super) fn merge(&mut self, room: usize) -> Bytes {
        let mut capsules = BytesMut::new();
        while let Some((_, datagram)) = self.waiting.front() {
            let length = self.format.encoded_len(datagram.len());
            if !capsules.is_empty() && capsules.len() + length > room {
                break;
            }
            self.format.encode(datagram, &mut capsules);
            self.waiting.pop_front();
        }
        capsules.freeze()
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}
