//! TCP bytes in DATA and `FINAL_DATA` capsules: connect-tcp (draft-ietf-httpbis-connect-tcp).
//!
//! The capsules tell an end from a truncation: only `FINAL_DATA` is a FIN, and a stream that ends
//! without it has been cut off.
//!
//! ```
//! use bytes::Bytes;
//! use pseudotcp_masque::bytestream::{Decoder, END, data_head};
//!
//! let wire = [&data_head(5)[..], b"hello", &END].concat();
//! let (mut decoder, mut chunk) = (Decoder::new(), Bytes::from(wire));
//! assert_eq!(decoder.decode(&mut chunk), Ok(Some(Bytes::from_static(b"hello"))));
//! assert_eq!(decoder.decode(&mut chunk), Ok(None));
//! assert!(decoder.is_finished());
//! ```

use bytes::Bytes;

use crate::capsule::{CapsuleError, DATA, FINAL_DATA, Piece, Reader};
use crate::varint::VarInt;

/// The bytes of a DATA capsule's head.
pub const HEAD_LEN: usize = 8;

/// The most bytes of one DATA capsule that [`data_head`] can announce.
pub const MAX_DATA: u32 = (1 << 30) - 1;

/// An empty `FINAL_DATA` capsule, which ends the bytes.
pub const END: [u8; 5] = {
    let [a, b, c, d] = long_varint(FINAL_DATA);
    [a, b, c, d, 0]
};

/// The head of a DATA capsule of so many bytes, at most [`MAX_DATA`]. It always takes [`HEAD_LEN`]
/// bytes, so that room can be left for it before the length is known.
pub fn data_head(length: u32) -> [u8; HEAD_LEN] {
    debug_assert!(length <= MAX_DATA);
    let mut head = [0; HEAD_LEN];
    let (kind, rest) = head.split_at_mut(4);
    kind.copy_from_slice(&long_varint(DATA));
    rest.copy_from_slice(&long_varint(VarInt::from_u32(length)));
    head
}

/// A value of at most 30 bits in four bytes, whether or not it would fit in fewer (RFC 9000 §16).
#[expect(clippy::cast_possible_truncation, reason = "callers give at most 30 bits")]
const fn long_varint(value: VarInt) -> [u8; 4] {
    (value.to_u64() as u32 | 0x8000_0000).to_be_bytes()
}

/// Takes the bytes out of a stream of capsules; those of unknown types are skipped.
#[derive(Debug, Default)]
pub struct Decoder {
    reader: Reader,
    value: Value,
    is_final: bool,
}

/// What the value being read is.
#[derive(Clone, Copy, Debug, Default)]
enum Value {
    /// Bytes of the flow.
    Bytes,
    /// Of a capsule that means nothing to us.
    #[default]
    Unknown,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes from the front of `chunk`, a slice of it. `None` means that the chunk is
    /// used up.
    ///
    /// # Errors
    /// [`CapsuleError::Malformed`] when bytes follow the end. Final: the flow must be aborted.
    pub fn decode(&mut self, chunk: &mut Bytes) -> Result<Option<Bytes>, CapsuleError> {
        while let Some(piece) = self.reader.read(chunk) {
            match (piece, self.value) {
                (Piece::Head { kind, .. }, _) => self.begin(kind)?,
                (Piece::Value(bytes), Value::Bytes) => return Ok(Some(bytes)),
                (Piece::Value(_), Value::Unknown) => {}
            }
        }
        Ok(None)
    }

    /// Whether the whole of `FINAL_DATA` has been read: the flow has ended as it should.
    pub fn is_finished(&self) -> bool {
        self.is_final && self.reader.remaining() == 0
    }

    fn begin(&mut self, kind: VarInt) -> Result<(), CapsuleError> {
        self.value = match kind {
            DATA | FINAL_DATA if self.is_final => return Err(CapsuleError::Malformed),
            DATA | FINAL_DATA => Value::Bytes,
            // RFC 9297 §3.2: unknown types are skipped silently.
            _ => Value::Unknown,
        };
        self.is_final |= kind == FINAL_DATA;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::capsule::encode_head;

    /// The bytes of all chunks, and whether they ended as they should.
    fn decode(chunks: impl IntoIterator<Item = Bytes>) -> Result<(Vec<u8>, bool), CapsuleError> {
        let (mut decoder, mut all) = (Decoder::new(), Vec::new());
        for mut chunk in chunks {
            while let Some(bytes) = decoder.decode(&mut chunk)? {
                all.extend_from_slice(&bytes);
            }
            assert!(chunk.is_empty());
        }
        Ok((all, decoder.is_finished()))
    }

    fn data(bytes: &[u8]) -> Vec<u8> {
        [&data_head(u32::try_from(bytes.len()).unwrap())[..], bytes].concat()
    }

    fn capsule(kind: VarInt, value: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        encode_head(kind, VarInt::new(value.len() as u64).unwrap(), &mut wire);
        [&wire[..], value].concat()
    }

    #[test]
    fn heads_take_the_room_that_was_left_for_them() {
        for length in [0, 1, 70_000, MAX_DATA] {
            let piece = Reader::new().read(&mut Bytes::copy_from_slice(&data_head(length)));
            assert_eq!(piece, Some(Piece::Head { kind: DATA, length: length.into() }));
        }
    }

    #[test]
    fn the_end_may_carry_bytes() {
        let wire = [data(b"a"), capsule(FINAL_DATA, b"bc")].concat();
        assert_eq!(decode([wire.clone().into()]), Ok((b"abc".to_vec(), true)));
        let cut = wire[..wire.len() - 1].to_vec();
        assert_eq!(decode([cut.into()]), Ok((b"ab".to_vec(), false)));
    }

    #[test]
    fn nothing_may_follow_the_end_but_the_unknown() {
        let unknown = capsule(VarInt::from_u32(0x29), b"grease");
        let wire = [unknown.clone(), END.to_vec(), unknown].concat();
        assert_eq!(decode([wire.into()]), Ok((Vec::new(), true)));
        for after in [data(b"x"), END.to_vec()] {
            let wire = [END.to_vec(), after].concat();
            assert_eq!(decode([wire.into()]), Err(CapsuleError::Malformed));
        }
    }

    proptest! {
        #[test]
        fn any_cuts_give_the_same_bytes(
            writes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
            size in 1..300_usize,
        ) {
            let mut wire: Vec<u8> = writes.iter().flat_map(|write| data(write)).collect();
            wire.extend(END);
            let chunks = wire.chunks(size).map(Bytes::copy_from_slice);
            prop_assert_eq!(decode(chunks), Ok((writes.concat(), true)));
        }
    }
}
