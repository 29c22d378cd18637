use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::MAX_CHUNK;

/// The plaintext of a full TLS record (RFC 8446 §5.1).
const RECORD: usize = 16 * 1024;
/// The head of a frame (RFC 9113 §4.1).
const HEAD: usize = 9;
/// The shortest frame with its head, in octets, where others are to be had.
pub(super) const LEAST: usize = 4 * 1024;

/// The payload of the longest frame in octets, to be announced as `SETTINGS_MAX_FRAME_SIZE`
/// (RFC 9113 §4.2): one chunk of a tunnel.
pub const MAX_FRAME: u32 = 65_160;

/// How many octets the next DATA frame of a connection should have at the most. Clones tell the same.
///
/// Long frames cost less, and keep the bytes of a flow together; but what is in a hurry waits until
/// the frame before it has left. So frames are short where the stream below takes them slowly: none
/// is longer than what the cork holds.
#[derive(Clone, Debug)]
pub struct FrameLimit(Arc<AtomicUsize>);

impl FrameLimit {
    pub(super) fn new(held: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(frame(held))))
    }

    /// The payload in octets, [`MAX_FRAME`] at the most.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// From now on so many octets are held.
    pub(super) fn follow(&self, held: usize) {
        self.0.store(frame(held), Ordering::Relaxed);
    }
}

/// As many whole records as `held` octets are, or a part of one; a chunk at the most.
fn frame(held: usize) -> usize {
    let whole = held / RECORD * RECORD;
    let with_head = if whole == 0 { held.max(LEAST) } else { whole };
    (with_head - HEAD).min(MAX_CHUNK)
}

const _: () = assert!(MAX_FRAME as usize == MAX_CHUNK);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_with_their_heads_fill_whole_records_or_are_a_chunk() {
        for (held, records) in [(RECORD, 1), (2 * RECORD - 1, 1), (2 * RECORD, 2), (3 * RECORD, 3)]
        {
            assert_eq!(frame(held), records * RECORD - HEAD);
        }
        assert_eq!(frame(4 * RECORD), MAX_FRAME as usize);
        assert_eq!(frame(usize::MAX), MAX_FRAME as usize);
        assert_eq!((frame(RECORD - 1), frame(0)), (RECORD - 1 - HEAD, LEAST - HEAD));
    }

    #[test]
    fn clones_tell_the_same() {
        let limit = FrameLimit::new(4 * RECORD);
        let clone = limit.clone();
        assert_eq!(clone.get(), MAX_FRAME as usize);
        limit.follow(RECORD);
        assert_eq!(clone.get(), RECORD - HEAD);
    }
}
