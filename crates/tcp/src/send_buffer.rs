use bytes::Bytes;
use pseudotcp_packet::{Body, SeqNumber};

use crate::chunks::Chunks;

/// Shorter pieces are copied: they may be slices of a buffer several times their size.
const SMALL: usize = 4 * 1024;
/// What a longer piece is taken to keep alive at least, as it may be a slice, too: transports read
/// into buffers of the size of a frame of HTTP/2, and a TLS record is no longer.
const SLICED: usize = 16 * 1024 + 9;

/// The bytes from SND.UNA on, sent or not, each kept until it is acknowledged.
#[derive(Debug)]
pub(crate) struct SendBuffer {
    chunks: Chunks,
    start: SeqNumber,
}

impl SendBuffer {
    /// An empty buffer whose first byte will be `start`.
    pub(crate) fn new(start: SeqNumber) -> Self {
        Self { chunks: Chunks::default(), start }
    }

    pub(crate) fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Octets of memory that they keep alive.
    pub(crate) fn pinned(&self) -> usize {
        self.chunks.pinned()
    }

    /// All bytes acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.chunks.taken()
    }

    /// The sequence number after the last byte.
    pub(crate) fn end(&self) -> SeqNumber {
        self.start.advance(octets(self.chunks.len()))
    }

    pub(crate) fn push(&mut self, data: Bytes) {
        if data.len() < SMALL {
            self.chunks.push_copy(&data);
        } else {
            let pinned = octets(data.len().max(SLICED));
            self.chunks.push_pinned(data, pinned);
        }
    }

    /// Drops what lies before `ack`.
    pub(crate) fn acknowledge(&mut self, ack: SeqNumber) {
        let count = usize::try_from(ack.offset_from(self.start)).unwrap_or(0).min(self.len());
        self.chunks.advance(count);
        self.start = self.start.advance(octets(count));
    }

    /// At most `len` bytes from `seq` on; nothing where the buffer has none.
    pub(crate) fn gather(&self, seq: SeqNumber, len: u32) -> Body {
        match usize::try_from(seq.offset_from(self.start)) {
            Ok(offset) => self.chunks.gather(offset, len as usize),
            Err(_) => Body::default(),
        }
    }
}

/// A length as sequence space; buffers are far smaller than 2³¹.
fn octets(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is written, acknowledged and gathered, near the wrap-around too (D20).
        #[test]
        fn d20_behaves_as_a_vector_of_the_whole_stream(
            start in prop_oneof![Just(u32::MAX - 700), any::<u32>()],
            steps in prop::collection::vec((0_usize..900, 0_u32..900, 0_u32..2_000, 0_u32..2_000), 1..40),
        ) {
            let first = SeqNumber::new(start);
            let (mut buffer, mut stream, mut acked) = (SendBuffer::new(first), Vec::new(), 0);
            for (write, ack, at, len) in steps {
                let data: Vec<u8> = (stream.len()..stream.len() + write).map(|n| n.to_le_bytes()[0]).collect();
                stream.extend_from_slice(&data);
                buffer.push(Bytes::from(data));
                acked = (acked + ack).min(octets(stream.len()));
                buffer.acknowledge(first.advance(acked));
                prop_assert_eq!(buffer.end(), first.advance(octets(stream.len())));
                let from = (acked + at) as usize;
                let got: Vec<u8> = buffer.gather(first.advance(acked + at), len).concat();
                let to = (from + len as usize).min(stream.len());
                prop_assert_eq!(&got[..], stream.get(from..to).unwrap_or_default());
            }
        }
    }

    #[test]
    fn old_and_wild_acknowledgements_change_nothing() {
        let mut buffer = SendBuffer::new(SeqNumber::new(10));
        buffer.push(Bytes::from_static(b"abc"));
        buffer.acknowledge(SeqNumber::new(9));
        assert_eq!((buffer.len(), buffer.gather(SeqNumber::new(9), 5).octets()), (3, 0));
        buffer.acknowledge(SeqNumber::new(99));
        assert_eq!((buffer.len(), buffer.end()), (0, SeqNumber::new(13)));
    }
}
