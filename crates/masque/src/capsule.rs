//! The capsule protocol (RFC 9297 §3.2): type, length and value, cut and merged as the stream likes.
//!
//! [`Reader`] is the layer below every protocol made of capsules: it finds heads and hands out the
//! values in pieces, never copying and never holding more than one head. [`crate::datagram`] builds
//! connect-udp on it, [`crate::bytestream`] connect-tcp.

use bytes::{Buf, BufMut, Bytes};

use crate::varint::VarInt;

/// The DATAGRAM capsule type (RFC 9297 §3.5).
pub const DATAGRAM: VarInt = VarInt::from_u32(0);

/// The DATA capsule type of connect-tcp, provisional (draft-ietf-httpbis-connect-tcp-08).
pub const DATA: VarInt = VarInt::from_u32(0x2028_d7f0);

/// The `FINAL_DATA` capsule type of connect-tcp, provisional as [`DATA`] is.
pub const FINAL_DATA: VarInt = VarInt::from_u32(0x2028_d7f1);

/// The most bytes of a capsule's type and length.
const MAX_HEAD: usize = 2 * VarInt::MAX_LEN;

/// What a stream of capsules did wrong. The flow must be aborted (RFC 9297 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CapsuleError {
    /// The stream ended inside a capsule.
    #[error("the stream ended inside a capsule")]
    Truncated,
    /// A capsule's value is not what its type demands.
    #[error("malformed capsule")]
    Malformed,
    /// A UDP payload of more than [`MAX_PAYLOAD`](crate::datagram::MAX_PAYLOAD) bytes.
    #[error("a datagram larger than UDP allows")]
    TooLarge,
}

/// A step through a stream of capsules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A capsule begins.
    Head {
        /// Its type.
        kind: VarInt,
        /// The length in bytes of its value, which follows in pieces.
        length: u64,
    },
    /// The next part of the value, at least one byte.
    Value(Bytes),
}

/// Reads capsules from chunks that begin and end anywhere.
#[derive(Debug, Default)]
pub struct Reader {
    head: [u8; MAX_HEAD],
    head_len: usize,
    remaining: u64,
}

impl Reader {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece from the front of `chunk`. `None` means that the chunk is used up.
    pub fn read(&mut self, chunk: &mut Bytes) -> Option<Piece> {
        if chunk.is_empty() {
            return None;
        }
        if self.remaining == 0 {
            return self.read_head(chunk);
        }
        let length = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(chunk.len());
        self.remaining -= length as u64;
        Some(Piece::Value(chunk.split_to(length)))
    }

    /// How many bytes are still to come of the value being read.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Whether the stream may end here.
    ///
    /// # Errors
    /// [`CapsuleError::Truncated`] inside a capsule (RFC 9297 §3.3).
    pub fn finish(&self) -> Result<(), CapsuleError> {
        let between = self.remaining == 0 && self.head_len == 0;
        if between { Ok(()) } else { Err(CapsuleError::Truncated) }
    }

    fn read_head(&mut self, chunk: &mut Bytes) -> Option<Piece> {
        let known = self.head_len;
        let fresh = chunk.len().min(MAX_HEAD - known);
        self.head[known..known + fresh].copy_from_slice(&chunk[..fresh]);
        let Some((kind, length, used)) = decode_head(&self.head[..known + fresh]) else {
            // MAX_HEAD bytes always hold a head, so the chunk ended first.
            self.head_len = known + fresh;
            chunk.clear();
            return None;
        };
        chunk.advance(used - known);
        self.head_len = 0;
        self.remaining = length.to_u64();
        Some(Piece::Head { kind, length: self.remaining })
    }
}

/// Appends the type and length of a capsule; the caller appends its value of `length` bytes.
pub fn encode_head(kind: VarInt, length: VarInt, out: &mut impl BufMut) {
    kind.encode(out);
    length.encode(out);
}

fn decode_head(bytes: &[u8]) -> Option<(VarInt, VarInt, usize)> {
    let (kind, first) = VarInt::decode(bytes)?;
    let (length, second) = VarInt::decode(&bytes[first..])?;
    Some((kind, length, first + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(reader: &mut Reader, chunk: &'static [u8]) -> Vec<Piece> {
        let mut chunk = Bytes::from_static(chunk);
        std::iter::from_fn(|| reader.read(&mut chunk)).collect()
    }

    fn head(kind: u32, length: u64) -> Piece {
        Piece::Head { kind: VarInt::from_u32(kind), length }
    }

    #[test]
    fn pieces_follow_the_chunks() {
        let mut reader = Reader::new();
        assert_eq!(read_all(&mut reader, b"\x40"), []);
        assert_eq!(reader.finish(), Err(CapsuleError::Truncated));
        let value = Piece::Value(Bytes::from_static(b"ab"));
        assert_eq!(read_all(&mut reader, b"\x17\x03ab"), [head(0x17, 3), value]);
        assert_eq!((reader.remaining(), reader.finish()), (1, Err(CapsuleError::Truncated)));
        let value = Piece::Value(Bytes::from_static(b"c"));
        assert_eq!(read_all(&mut reader, b"c\x00\x00"), [value, head(0, 0)]);
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_huge_length_costs_nothing() {
        let mut reader = Reader::new();
        let pieces = read_all(
            &mut reader,
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xffx",
        );
        assert_eq!(pieces.len(), 2);
        assert_eq!(reader.remaining(), VarInt::MAX.to_u64() - 1);
    }

    #[test]
    fn a_written_head_is_read_back() {
        let mut wire = Vec::new();
        encode_head(VarInt::from_u32(0x2028_d7f0), VarInt::from_u32(70_000), &mut wire);
        let piece = Reader::new().read(&mut Bytes::from(wire));
        assert_eq!(piece, Some(head(0x2028_d7f0, 70_000)));
    }
}
