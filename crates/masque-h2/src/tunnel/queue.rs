//! Datagrams that wait, and make nobody else wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::state::{Counters, count};

/// So many may wait for any time.
const FEW: usize = 64;

/// How long any more of them may wait; later they would only disturb.
const MAX_WAIT: Duration = Duration::from_millis(50);

/// How many bytes wait at the most: twice what one poll of a connection reads.
const MAX_BYTES: usize = 1024 * 1024;

/// What a datagram takes besides its payload.
const OVERHEAD: usize = 64;

/// A queue that takes every datagram: what is too much or too late is dropped, the oldest first, and
/// counted.
pub(super) struct DatagramQueue {
    /// Since when each datagram waits.
    waiting: VecDeque<(Instant, Bytes)>,
    /// The bytes of all of them, overhead included.
    bytes: usize,
    counters: Arc<Counters>,
}

impl DatagramQueue {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, counters }
    }

    pub(super) fn push(&mut self, now: Instant, datagram: Bytes) {
        self.bytes += datagram.len() + OVERHEAD;
        self.waiting.push_back((now, datagram));
        while self.bytes > MAX_BYTES || self.waiting.len() > FEW && self.is_late(now) {
            self.drop_oldest();
        }
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let (_, datagram) = self.waiting.pop_front()?;
        self.bytes -= datagram.len() + OVERHEAD;
        if self.waiting.is_empty() && self.waiting.capacity() > FEW {
            self.waiting = VecDeque::new();
        }
        Some(datagram)
    }

    /// The oldest, which comes next.
    pub(super) fn front(&self) -> Option<&Bytes> {
        self.waiting.front().map(|(_, datagram)| datagram)
    }

    /// All of them, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.waiting.iter().map(|(_, datagram)| datagram)
    }

    /// Drops what has waited too long, few or not.
    pub(super) fn drop_late(&mut self, now: Instant) {
        while self.is_late(now) {
            self.drop_oldest();
        }
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.bytes = 0;
    }

    fn is_late(&self, now: Instant) -> bool {
        self.waiting.front().is_some_and(|(since, _)| now - *since > MAX_WAIT)
    }

    fn drop_oldest(&mut self) {
        if self.pop().is_some() {
            count(&self.counters.datagrams_dropped, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    fn queue() -> (DatagramQueue, Arc<Counters>, Instant) {
        let counters = Arc::new(Counters::default());
        (DatagramQueue::new(Arc::clone(&counters)), counters, Instant::now())
    }

    fn datagram(number: usize) -> Bytes {
        Bytes::from(number.to_be_bytes().to_vec())
    }

    fn dropped(counters: &Counters) -> u64 {
        counters.datagrams_dropped.load(Ordering::Relaxed)
    }

    #[test]
    fn a_burst_is_kept_whole_up_to_the_bound() {
        let (mut queue, counters, now) = queue();
        let fit = MAX_BYTES / (8 + OVERHEAD);
        for number in 0..fit + 3 {
            queue.push(now, datagram(number));
        }
        assert_eq!(dropped(&counters), 3);
        assert_eq!(queue.pop(), Some(datagram(3)));
        let rest = std::iter::from_fn(|| queue.pop()).last();
        assert_eq!((rest, queue.bytes), (Some(datagram(fit + 2)), 0));
    }

    #[test]
    fn of_what_is_late_few_are_kept() {
        let (mut queue, counters, now) = queue();
        for number in 0..100 {
            queue.push(now, datagram(number));
        }
        queue.push(now + MAX_WAIT, datagram(100));
        assert_eq!(dropped(&counters), 0);
        let late = now + MAX_WAIT + Duration::from_millis(1);
        queue.push(late, datagram(101));
        assert_eq!((dropped(&counters), queue.front()), (102 - 64, Some(&datagram(38))));
        queue.drop_late(late);
        assert_eq!(queue.iter().collect::<Vec<_>>(), [&datagram(100), &datagram(101)]);
    }
}
