//! Buffers that come back by themselves.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Buffers of one size. What one holds is lent as slices of it; when none of them is left it serves
/// again, so that the packets of steady traffic need no allocation.
#[derive(Debug)]
pub(crate) struct Pool {
    size: usize,
    kept: usize,
    /// Those that were lent, the oldest first.
    lent: VecDeque<BytesMut>,
}

impl Pool {
    /// A pool of buffers of `size` octets, which remembers `kept` of them.
    pub(crate) fn new(size: usize, kept: usize) -> Self {
        Self { size, kept, lent: VecDeque::new() }
    }

    /// How many octets a buffer has.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// An empty buffer.
    pub(crate) fn take(&mut self) -> BytesMut {
        let free = self.lent.pop_front_if(|oldest| oldest.try_reclaim(self.size));
        free.unwrap_or_else(|| BytesMut::with_capacity(self.size))
    }

    /// Lends what a buffer of this pool holds.
    pub(crate) fn lend(&mut self, mut buffer: BytesMut) -> Bytes {
        let bytes = buffer.split().freeze();
        if self.lent.len() == self.kept {
            self.lent.pop_front();
        }
        self.lent.push_back(buffer);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(pool: &mut Pool) -> Bytes {
        let mut buffer = pool.take();
        assert!(buffer.is_empty() && buffer.capacity() >= 64);
        buffer.extend_from_slice(&[7; 50]);
        pool.lend(buffer)
    }

    #[test]
    fn a_buffer_serves_again_when_nobody_refers_to_it() {
        let mut pool = Pool::new(64, 8);
        let first = fill(&mut pool);
        let address = first.as_ptr();
        let second = fill(&mut pool);
        assert_ne!(second.as_ptr(), address, "the first is still referred to");
        let part = first.slice(10..20);
        drop((first, second));
        assert_eq!(fill(&mut pool).as_ref(), [7; 50]);
        assert_eq!(part.as_ref(), [7; 10], "a slice keeps its bytes");
        drop(part);
        let found = (0..3).map(|_| fill(&mut pool)).any(|bytes| bytes.as_ptr() == address);
        assert!(found);
    }

    #[test]
    fn no_more_buffers_are_kept_than_wanted() {
        let mut pool = Pool::new(64, 2);
        let lent: Vec<_> = (0..5).map(|_| fill(&mut pool)).collect();
        assert_eq!(pool.lent.len(), 2);
        assert!(lent.iter().all(|bytes| bytes.as_ref() == [7; 50]));
    }
}
