//! The datagrams that wait for room at the proxy.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pseudotcp_masque::datagram::{Format, MAX_PAYLOAD};
use tokio::time::Instant;

use super::queue::DatagramQueue;
use crate::state::{Counters, count};

/// Datagrams on their way to the proxy. One that is too large is dropped and counted, as one is that
/// has waited too long: later it would only disturb.
pub(super) struct Outbox {
    format: Format,
    waiting: DatagramQueue,
    counters: Arc<Counters>,
}

impl Outbox {
    pub(super) fn new(format: Format, counters: Arc<Counters>) -> Self {
        Self { format, waiting: DatagramQueue::new(Arc::clone(&counters)), counters }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    pub(super) fn push(&mut self, datagram: Bytes) {
        if datagram.len() > MAX_PAYLOAD {
            count(&self.counters.datagrams_dropped, 1);
        } else {
            self.waiting.push(Instant::now(), datagram);
        }
    }

    /// Drops what is late; tells how many bytes the rest takes as capsules.
    pub(super) fn wanted(&mut self) -> usize {
        self.waiting.drop_late(Instant::now());
        self.waiting.iter().map(|datagram| self.format.encoded_len(datagram.len())).sum()
    }

    /// The capsules of as many datagrams as fit into `room`, and of one at least.
    pub(super) fn merge(&mut self, room: usize) -> Bytes {
        let mut capsules = BytesMut::new();
        while let Some(datagram) = self.waiting.front() {
            let length = self.format.encoded_len(datagram.len());
            if !capsules.is_empty() && capsules.len() + length > room {
                break;
            }
            self.format.encode(datagram, &mut capsules);
            self.waiting.pop();
        }
        capsules.freeze()
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}
