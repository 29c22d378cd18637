//! The bytes that the demo sends: cheap to make, never the same twice, hashed once.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// Fills `buffer` with the pattern's bytes from `offset` on; both are multiples of 8.
pub(super) fn fill(offset: u64, buffer: &mut [u8]) {
    for (word, index) in buffer.chunks_mut(8).zip(offset / 8..) {
        word.copy_from_slice(&mix(index).to_le_bytes()[..word.len()]);
    }
}

/// The SHA-256 of the pattern's first `len` bytes, in hexadecimal.
pub(super) fn digest(len: u64) -> String {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    for (offset, size) in chunks(len) {
        fill(offset, &mut buffer[..size]);
        hash.update(&buffer[..size]);
    }
    hex(&hash.finalize())
}

/// The offsets and sizes of the chunks that make up `len` bytes.
pub(super) fn chunks(len: u64) -> impl Iterator<Item = (u64, usize)> {
    (0..len.div_ceil(CHUNK as u64)).map(move |n| {
        let offset = n * CHUNK as u64;
        (offset, usize::try_from(len - offset).map_or(CHUNK, |left| left.min(CHUNK)))
    })
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// How much of the pattern is made at once, in bytes.
pub(super) const CHUNK: usize = 64 * 1024;

/// A bijective mix of a word (the finaliser of `SplitMix64`).
fn mix(index: u64) -> u64 {
    let mut z = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
