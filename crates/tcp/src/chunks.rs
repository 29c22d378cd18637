use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use pseudotcp_packet::Body;

/// Pieces shorter than this are joined by copy: a byte a piece must not cost a hundred.
const SMALL: usize = 1_024;
/// The longest piece that joining makes.
const JOINED: usize = 8_192;
/// What a piece costs beside its octets: its place in the queue, and the count of its owners.
const OVERHEAD: u32 = 128;

/// A queue of bytes, kept as refcounted slices of the buffers in which they came.
///
/// It holds no memory while empty.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    queue: VecDeque<Chunk>,
    /// Stream position of the first byte: how many were taken so far.
    head: u64,
    len: u32,
    /// Octets of memory that the queue keeps alive.
    pinned: u32,
}

#[derive(Debug)]
struct Chunk {
    /// Stream position of the first byte of `data`.
    start: u64,
    data: Bytes,
    /// Octets of memory that `data` keeps alive.
    pinned: u32,
}

impl Chunks {
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Octets of memory that it keeps alive.
    pub(crate) fn pinned(&self) -> usize {
        self.pinned as usize
    }

    /// All bytes appended so far.
    pub(crate) fn total(&self) -> u64 {
        self.head.saturating_add(self.len.into())
    }

    /// All bytes taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.head
    }

    /// Appends what keeps no more memory alive than it is long.
    pub(crate) fn push(&mut self, data: Bytes) {
        let pinned = octets(data.len());
        self.push_pinned(data, pinned);
    }

    /// Appends what keeps so many octets of memory alive; short pieces are joined with what is last.
    pub(crate) fn push_pinned(&mut self, data: Bytes, pinned: u32) {
        if data.is_empty() {
            return;
        }
        if data.len() >= SMALL || !self.join(&data) {
            self.append(data, pinned);
        }
    }

    /// Appends a copy, joined with what is last if both are short.
    pub(crate) fn push_copy(&mut self, data: &[u8]) {
        if !data.is_empty() && !self.join(data) {
            self.append(Bytes::copy_from_slice(data), octets(data.len()));
        }
    }

    /// Copies a piece to the end of the last one, if that is not too long then.
    fn join(&mut self, data: &[u8]) -> bool {
        let joinable = |last: &&mut Chunk| last.data.len() + data.len() <= JOINED;
        let Some(last) = self.queue.back_mut().filter(joinable) else { return false };
        self.pinned = self.pinned.saturating_sub(last.pinned);
        let (whole, capacity) = joined(std::mem::take(&mut last.data), data);
        (last.data, last.pinned) = (whole, octets(capacity).saturating_add(OVERHEAD));
        self.pinned = self.pinned.saturating_add(last.pinned);
        self.len = self.len.saturating_add(octets(data.len()));
        true
    }

    fn append(&mut self, data: Bytes, pinned: u32) {
        let (start, pinned) = (self.total(), pinned.saturating_add(OVERHEAD));
        self.len = self.len.saturating_add(octets(data.len()));
        self.pinned = self.pinned.saturating_add(pinned);
        self.queue.push_back(Chunk { start, data, pinned });
    }

    /// Takes the first piece, at most `max` bytes of it.
    pub(crate) fn pop(&mut self, max: usize) -> Option<Bytes> {
        let first = self.queue.front_mut().filter(|_| max > 0)?;
        let data = first.data.split_to(max.min(first.data.len()));
        self.skip(data.len());
        Some(data)
    }

    /// Drops the first `count` bytes, or all there are.
    pub(crate) fn advance(&mut self, count: usize) {
        let mut left = count.min(self.len());
        while left > 0
            && let Some(first) = self.queue.front_mut()
        {
            let step = left.min(first.data.len());
            let _dropped = first.data.split_to(step);
            self.skip(step);
            left -= step;
        }
    }

    /// At most `len` bytes from `offset` on, as at most [`Body::MAX_SLICES`] slices.
    pub(crate) fn gather(&self, offset: usize, len: usize) -> Body {
        let mut at = self.head.saturating_add(offset as u64);
        let end = self.total().min(at.saturating_add(len as u64));
        let first = self.queue.partition_point(|chunk| chunk.end() <= at);
        self.queue
            .range(first.min(self.queue.len())..)
            .take(Body::MAX_SLICES)
            .map_while(|chunk| {
                let slice = chunk.slice(at, end);
                at = chunk.end();
                slice
            })
            .collect()
    }

    /// Accounts for `count` bytes that have left the first piece.
    fn skip(&mut self, count: usize) {
        self.head = self.head.saturating_add(count as u64);
        self.len = self.len.saturating_sub(octets(count));
        let head = self.head;
        if let Some(first) = self.queue.front_mut() {
            first.start = head;
        }
        if let Some(spent) = self.queue.pop_front_if(|first| first.data.is_empty()) {
            self.pinned = self.pinned.saturating_sub(spent.pinned);
        }
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }
}

impl Chunk {
    fn end(&self) -> u64 {
        self.start.saturating_add(self.data.len() as u64)
    }

    /// What of it lies between two stream positions.
    fn slice(&self, from: u64, to: u64) -> Option<Bytes> {
        let within = |position: u64| usize::try_from(position.saturating_sub(self.start)).ok();
        let from = within(from)?;
        let to = within(to)?.min(self.data.len());
        (from < to).then(|| self.data.slice(from..to))
    }
}

fn octets(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Both in one piece, and its capacity: in place where `first` is not shared, else copied with room
/// to grow.
fn joined(first: Bytes, second: &[u8]) -> (Bytes, usize) {
    let mut whole = first.try_into_mut().unwrap_or_else(|shared| {
        let mut copy = BytesMut::with_capacity(2 * (shared.len() + second.len()));
        copy.extend_from_slice(&shared);
        copy
    });
    whole.extend_from_slice(second);
    let capacity = whole.capacity();
    (whole.freeze(), capacity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_pieces_share_one_allocation_and_long_ones_stay_where_they_are() {
        let mut chunks = Chunks::default();
        for _ in 0..JOINED {
            chunks.push(Bytes::from_static(b"x"));
        }
        assert_eq!(chunks.queue.len(), 1);
        let long = Bytes::from(vec![1; SMALL]);
        chunks.push(long.clone());
        assert_eq!(chunks.gather(JOINED, SMALL).first().map(|b| b.as_ptr()), Some(long.as_ptr()));
    }

    #[test]
    fn an_empty_queue_holds_no_memory() {
        let mut chunks = Chunks::default();
        chunks.push(Bytes::from_static(b"abc"));
        assert_eq!(chunks.pop(9).as_deref(), Some(&b"abc"[..]));
        assert_eq!((chunks.queue.capacity(), chunks.pop(1)), (0, None));
        chunks.push(Bytes::new());
        chunks.push_copy(&[]);
        assert_eq!((chunks.queue.capacity(), chunks.pinned(), chunks.taken()), (0, 0, 3));
    }

    #[test]
    fn what_is_kept_alive_counts_until_the_last_byte_is_taken() {
        let mut chunks = Chunks::default();
        chunks.push_pinned(Bytes::from(vec![0; 2_000]), 65_000);
        chunks.push(Bytes::from(vec![0; 1_500]));
        let pinned = |octets: usize, pieces: u32| octets + (pieces * OVERHEAD) as usize;
        assert_eq!(chunks.pinned(), pinned(66_500, 2));
        chunks.pop(1_999);
        assert_eq!(chunks.pinned(), pinned(66_500, 2));
        chunks.pop(1);
        assert_eq!(chunks.pinned(), pinned(1_500, 1));
        chunks.push(Bytes::from(vec![0; 10]));
        assert!(chunks.pinned() > pinned(1_510, 1), "the joined piece has room to grow");
        chunks.advance(9_999);
        assert_eq!((chunks.pinned(), chunks.len()), (0, 0));
    }

    #[test]
    fn gather_stops_at_sixteen_slices() {
        let mut chunks = Chunks::default();
        for _ in 0..20 {
            chunks.push(Bytes::from(vec![0; SMALL]));
        }
        assert_eq!(chunks.gather(1, 20 * SMALL).octets(), 16 * SMALL - 1);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(Vec<u8>),
        Pop(usize),
        Advance(usize),
        Gather(usize, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..3_000).prop_map(Step::Push),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(Step::Push),
            (0_usize..4_000).prop_map(Step::Pop),
            (0_usize..4_000).prop_map(Step::Advance),
            (0_usize..9_000, 0_usize..9_000).prop_map(|(at, len)| Step::Gather(at, len)),
        ];
        prop::collection::vec(step, 1..60)
    }

    proptest! {
        #[test]
        fn behaves_as_a_plain_vector(steps in steps()) {
            let (mut chunks, mut model) = (Chunks::default(), Vec::new());
            for step in steps {
                match step {
                    Step::Push(data) => {
                        model.extend_from_slice(&data);
                        chunks.push(Bytes::from(data));
                    }
                    Step::Pop(max) => {
                        let got = chunks.pop(max).unwrap_or_default();
                        prop_assert!(got.len() <= max && (max == 0 || model.is_empty() || !got.is_empty()));
                        let rest = model.split_off(got.len());
                        prop_assert_eq!(&got[..], &model[..]);
                        model = rest;
                    }
                    Step::Advance(count) => {
                        chunks.advance(count);
                        model.drain(..count.min(model.len()));
                    }
                    Step::Gather(at, len) => {
                        let got: Vec<u8> = chunks.gather(at, len).concat();
                        let from = at.min(model.len());
                        let full = &model[from..(at + len).clamp(from, model.len())];
                        prop_assert!(full.starts_with(&got) && got.is_empty() == full.is_empty());
                    }
                }
                prop_assert_eq!(chunks.len(), model.len());
            }
        }
    }
}
