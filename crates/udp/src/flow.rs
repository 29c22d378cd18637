use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use pseudotcp_packet::{DatagramHead, FlowKey, Quote};

/// What a waiting datagram costs beside its payload: its place in the queue. It bounds floods of
/// empty datagrams too.
pub(crate) const DATAGRAM_OVERHEAD: usize = size_of::<Bytes>();

/// The room for datagrams that an empty queue keeps: one datagram at a time needs no allocation, and
/// an idle flow holds no more than this.
const KEPT_CAPACITY: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Announced to the owner, not answered yet.
    Opening,
    /// Accepted.
    Open,
}

/// One five-tuple's state.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) key: FlowKey,
    pub(crate) phase: Phase,
    /// The latest datagram that counts against the idle timeout.
    pub(crate) last_active: Instant,
    /// The flow's timer entry.
    pub(crate) armed: Option<Instant>,
    /// That of the datagram that the app sent last, for an ICMP error.
    pub(crate) head: DatagramHead,
    /// What some link on the way to the app carries at a time, where it has said so.
    pub(crate) path_mtu: Option<u32>,
    queue: VecDeque<Bytes>,
    bytes: usize,
}

impl Flow {
    pub(crate) fn new(key: FlowKey, now: Instant) -> Self {
        Self {
            key,
            phase: Phase::Opening,
            last_active: now,
            armed: None,
            head: DatagramHead::default(),
            path_mtu: None,
            queue: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// How many datagrams wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// What the waiting datagrams cost in bytes.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.bytes
    }

    /// Quotes the datagram that the app sent last, with its payload if that still waits.
    pub(crate) fn quote(&self) -> Option<Quote> {
        self.head.quote(self.queue.back().unwrap_or(&Bytes::new()))
    }

    pub(crate) fn push(&mut self, datagram: Bytes) {
        self.bytes += cost(&datagram);
        self.queue.push_back(datagram);
    }

    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let datagram = self.queue.pop_front()?;
        self.bytes -= cost(&datagram);
        if self.queue.is_empty() && self.queue.capacity() > KEPT_CAPACITY {
            self.queue = VecDeque::new();
        }
        Some(datagram)
    }
}

fn cost(datagram: &Bytes) -> usize {
    datagram.len() + DATAGRAM_OVERHEAD
}
