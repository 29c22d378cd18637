//! Bytes that differ at every place, so that nothing lost, doubled or moved goes unnoticed.

use std::io::{self, Read};
use std::sync::LazyLock;

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// 100 MB.
pub(crate) const LARGE: usize = 100_000_000;

/// A SHA-256.
pub(crate) type Sum = [u8; 32];

static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    let mut bytes = vec![0; LARGE];
    for (number, word) in bytes.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&mixed(number as u64).to_le_bytes());
    }
    bytes.into()
});

static LARGE_SUM: LazyLock<Sum> = LazyLock::new(|| Sha256::digest(&*PATTERN).into());

/// The first `length` bytes of the pattern, at most [`LARGE`].
pub(crate) fn bytes(length: usize) -> Bytes {
    PATTERN.slice(..length)
}

/// The sum of the first [`LARGE`] bytes.
pub(crate) fn large_sum() -> Sum {
    *LARGE_SUM
}

/// The length and the sum of all that a reader has.
pub(crate) fn read_sum(mut reader: impl Read) -> io::Result<(usize, Sum)> {
    let (mut hasher, mut length, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            return Ok((length, hasher.finalize().into()));
        }
        hasher.update(&buffer[..read]);
        length += read;
    }
}

/// A sum in hexadecimal digits.
pub(crate) fn hex(sum: &Sum) -> String {
    sum.iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"))
}

/// The finaliser of `SplitMix64`: a bijection, so no two words are equal.
fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
