//! What the tests of the engine share.
#![allow(dead_code, reason = "every test uses its own part")]

pub(crate) mod bench;
pub(crate) mod interposer;
pub(crate) mod recorded;

use std::sync::LazyLock;

use bytes::Bytes;

/// A prime, so that no stretch of a stream looks like the one a power of two later.
const PERIOD: u64 = 1_000_003;

/// One period and a little more, so that every piece lies in it contiguously.
static STREAM: LazyLock<Bytes> = LazyLock::new(|| {
    let byte = |at: u64| (at ^ (at >> 8) ^ (at >> 16)).to_le_bytes()[0];
    (0..PERIOD + 70_000).map(|at| byte(at % PERIOD)).collect()
});

/// A piece of a stream whose bytes are known, and differ from their neighbours.
pub(crate) fn pattern(from: u64, len: usize) -> Bytes {
    let from = usize::try_from(from % PERIOD).unwrap();
    STREAM.slice(from..from + len)
}

/// Checks a piece of such a stream.
pub(crate) fn assert_pattern(from: u64, data: &[u8]) {
    for (n, piece) in (0..).zip(data.chunks(65_536)) {
        assert!(pattern(from + n * 65_536, piece.len()) == piece, "a wrong byte after {from}");
    }
}
