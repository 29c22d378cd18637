//! UDP payloads in DATAGRAM capsules: connect-udp (RFC 9298 §5) over a byte stream.
//!
//! The older draft-ietf-masque-connect-udp-03 has the same capsules without the context id; both are
//! a [`Format`].
//!
//! ```
//! use bytes::{Bytes, BytesMut};
//! use pseudotcp_masque::datagram::{Decoder, encode};
//!
//! let mut wire = BytesMut::new();
//! encode(b"one", &mut wire);
//! encode(b"", &mut wire);
//!
//! let (mut decoder, mut chunk) = (Decoder::new(), wire.freeze());
//! assert_eq!(decoder.decode(&mut chunk), Ok(Some(Bytes::from_static(b"one"))));
//! assert_eq!(decoder.decode(&mut chunk), Ok(Some(Bytes::new())));
//! assert_eq!(decoder.decode(&mut chunk), Ok(None));
//! assert_eq!(decoder.finish(), Ok(()));
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::capsule::{CapsuleError, DATAGRAM, Piece, Reader, encode_head};
use crate::varint::VarInt;

/// The most bytes of one UDP payload: 65,527 (RFC 9298 §5).
pub const MAX_PAYLOAD: usize = 65_527;

/// The context id of plain UDP payloads (RFC 9298 §4).
const UDP_PAYLOADS: VarInt = VarInt::from_u32(0);

/// The most bytes of a DATAGRAM capsule's value that can be a legal UDP payload.
const MAX_VALUE: usize = MAX_PAYLOAD + VarInt::MAX_LEN;

/// What stands in a DATAGRAM capsule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A context id, then the payload (RFC 9298 §4).
    #[default]
    Rfc9298,
    /// The payload alone (draft-ietf-masque-connect-udp-03).
    Draft03,
}

impl Format {
    /// The length in bytes of the capsule that carries a payload of `payload_len` bytes.
    pub fn encoded_len(self, payload_len: usize) -> usize {
        let value_len = self.context_len() + payload_len;
        DATAGRAM.encoded_len() + length(value_len).encoded_len() + value_len
    }

    /// Appends one payload as a capsule; call it once for each datagram that leaves together.
    ///
    /// The payload is at most [`MAX_PAYLOAD`] bytes: the far side must abort on more.
    pub fn encode(self, payload: &[u8], out: &mut BytesMut) {
        debug_assert!(payload.len() <= MAX_PAYLOAD);
        out.reserve(self.encoded_len(payload.len()));
        encode_head(DATAGRAM, length(self.context_len() + payload.len()), out);
        if self == Self::Rfc9298 {
            UDP_PAYLOADS.encode(out);
        }
        out.put_slice(payload);
    }

    fn context_len(self) -> usize {
        match self {
            Self::Rfc9298 => UDP_PAYLOADS.encoded_len(),
            Self::Draft03 => 0,
        }
    }
}

/// The length in bytes of the capsule that carries a payload of `payload_len` bytes.
pub fn encoded_len(payload_len: usize) -> usize {
    Format::Rfc9298.encoded_len(payload_len)
}

/// Appends one payload as a capsule of RFC 9298; see [`Format::encode`].
pub fn encode(payload: &[u8], out: &mut BytesMut) {
    Format::Rfc9298.encode(payload, out);
}

fn length(value_len: usize) -> VarInt {
    VarInt::new(value_len as u64).unwrap_or(VarInt::MAX)
}

/// Takes UDP payloads out of a stream of capsules.
///
/// Capsules of unknown types and datagrams of unknown contexts are skipped and counted, whatever
/// their size. A payload that lies whole in one chunk is a slice of that chunk; only one that is cut
/// is copied, and at most one is held.
#[derive(Debug, Default)]
pub struct Decoder {
    format: Format,
    reader: Reader,
    /// How many more bytes to collect of the value being read; what follows them is skipped.
    wanted: usize,
    /// Whether the value being read is too large for UDP; then only its context id is collected.
    too_large: bool,
    collected: BytesMut,
    skipped: u64,
}

impl Decoder {
    /// A decoder at the start of a stream of RFC 9298.
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder at the start of a stream of the given format.
    pub fn with_format(format: Format) -> Self {
        Self { format, ..Self::default() }
    }

    /// Takes the next UDP payload from the front of `chunk`. `None` means that the chunk is used up.
    ///
    /// # Errors
    /// Final: the flow must be aborted.
    pub fn decode(&mut self, chunk: &mut Bytes) -> Result<Option<Bytes>, CapsuleError> {
        while let Some(piece) = self.reader.read(chunk) {
            let value = match piece {
                Piece::Head { kind, length } => self.begin(kind, length),
                Piece::Value(part) => self.collect(part),
            };
            if let Some(value) = value
                && let Some(payload) = self.complete(value)?
            {
                return Ok(Some(payload));
            }
        }
        Ok(None)
    }

    /// Whether the stream may end here.
    ///
    /// # Errors
    /// [`CapsuleError::Truncated`] inside a capsule.
    pub fn finish(&self) -> Result<(), CapsuleError> {
        self.reader.finish()
    }

    /// How many capsules and datagrams were skipped because their type or context is unknown.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Looks at a capsule's head; one without a value is complete already.
    fn begin(&mut self, kind: VarInt, length: u64) -> Option<Bytes> {
        if kind != DATAGRAM {
            // RFC 9297 §3.2: unknown types are skipped silently.
            self.skipped += 1;
            return None;
        }
        if length == 0 {
            return Some(Bytes::new());
        }
        let value_len = usize::try_from(length).unwrap_or(usize::MAX);
        self.too_large = value_len > MAX_VALUE;
        self.wanted = if self.too_large { VarInt::MAX_LEN } else { value_len };
        None
    }

    /// The wanted part of the value, once it is there as a whole.
    fn collect(&mut self, mut part: Bytes) -> Option<Bytes> {
        if self.wanted == 0 {
            return None;
        }
        part.truncate(self.wanted);
        self.wanted -= part.len();
        match (self.wanted, self.collected.is_empty()) {
            (0, true) => Some(part),
            (0, false) => {
                self.collected.extend_from_slice(&part);
                Some(self.collected.split().freeze())
            }
            _ => {
                self.collected.extend_from_slice(&part);
                None
            }
        }
    }

    fn complete(&mut self, mut value: Bytes) -> Result<Option<Bytes>, CapsuleError> {
        let too_large = std::mem::take(&mut self.too_large);
        if self.format == Format::Rfc9298 {
            // RFC 9298 §4: every datagram begins with a context id.
            let (context, used) = VarInt::decode(&value).ok_or(CapsuleError::Malformed)?;
            if context != UDP_PAYLOADS {
                // RFC 9298 §4: datagrams of an unknown context are dropped.
                self.skipped += 1;
                return Ok(None);
            }
            value.advance(used);
        }
        // RFC 9298 §5: a UDP payload of more than 65,527 bytes aborts the stream.
        if too_large || value.len() > MAX_PAYLOAD {
            return Err(CapsuleError::TooLarge);
        }
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes chunks to the end of the stream.
    fn decode(chunks: impl IntoIterator<Item = Bytes>) -> Result<(Vec<Bytes>, u64), CapsuleError> {
        let mut decoder = Decoder::new();
        let mut payloads = Vec::new();
        for mut chunk in chunks {
            while let Some(payload) = decoder.decode(&mut chunk)? {
                payloads.push(payload);
            }
            assert!(chunk.is_empty());
        }
        decoder.finish()?;
        Ok((payloads, decoder.skipped()))
    }

    fn wire_of(payloads: &[impl AsRef<[u8]>]) -> Bytes {
        let mut wire = BytesMut::new();
        for payload in payloads {
            let before = wire.len();
            encode(payload.as_ref(), &mut wire);
            assert_eq!(wire.len() - before, encoded_len(payload.as_ref().len()));
        }
        wire.freeze()
    }

    /// A DATAGRAM capsule with a context id of any length.
    fn capsule(context: &[u8], payload_len: usize) -> Bytes {
        let mut wire = BytesMut::new();
        let length = VarInt::new((context.len() + payload_len) as u64).unwrap();
        encode_head(DATAGRAM, length, &mut wire);
        wire.put_slice(context);
        wire.put_bytes(7, payload_len);
        wire.freeze()
    }

    fn cut(wire: &Bytes, size: usize) -> impl Iterator<Item = Bytes> {
        (0..wire.len()).step_by(size).map(move |at| wire.slice(at..wire.len().min(at + size)))
    }

    #[test]
    fn d40_one_read_is_not_one_datagram() {
        let payloads = ["", "merged", "into one chunk"];
        let wire = wire_of(&payloads);
        for size in 1..=wire.len() {
            let (read, skipped) = decode(cut(&wire, size)).unwrap();
            assert_eq!((read, skipped), (payloads.map(Bytes::from).to_vec(), 0), "cut by {size}");
        }
    }

    #[test]
    fn d40_a_payload_whole_in_a_chunk_is_not_copied() {
        let wire = wire_of(&["first", "second"]);
        let (read, _) = decode([wire.clone()]).unwrap();
        assert!(read.iter().all(|payload| wire.as_ptr_range().contains(&payload.as_ptr())));
    }

    #[test]
    fn d42_capsules_of_every_length_class_are_whole() {
        let payloads = [62, 63, 64, 16_382, 16_383, 16_384, MAX_PAYLOAD].map(|n| vec![7; n]);
        let (read, _) = decode(cut(&wire_of(&payloads), 1_400)).unwrap();
        assert_eq!(read, payloads);
    }

    #[test]
    fn unknown_types_and_contexts_are_skipped() {
        let mut wire = BytesMut::new();
        encode_head(VarInt::from_u32(0x2575), VarInt::from_u32(300_000), &mut wire);
        wire.put_bytes(0, 300_000);
        wire.put(capsule(&[2], 10));
        wire.put(capsule(&[0x40, 4], 100_000));
        wire.put(capsule(&[0], 3));
        let wire = wire.freeze();
        for size in [1, 7, 16_384, wire.len()] {
            let (read, skipped) = decode(cut(&wire, size)).unwrap();
            assert_eq!((read, skipped), (vec![Bytes::from_static(&[7; 3])], 3));
        }
    }

    #[test]
    fn a_context_id_may_be_longer_than_needed() {
        let wire = capsule(&[0xc0, 0, 0, 0, 0, 0, 0, 0], MAX_PAYLOAD);
        assert_eq!(decode([wire]).unwrap().0, [vec![7; MAX_PAYLOAD]]);
    }

    #[test]
    fn payloads_too_large_for_udp_abort() {
        for excess in [1, 7, 8, 9, 100_000] {
            let wire = capsule(&[0], MAX_PAYLOAD + excess);
            for size in [1_000, wire.len()] {
                assert_eq!(decode(cut(&wire, size)), Err(CapsuleError::TooLarge), "{excess}");
            }
        }
    }

    #[test]
    fn a_datagram_without_a_context_id_is_malformed() {
        assert_eq!(decode([capsule(&[], 0)]), Err(CapsuleError::Malformed));
        assert_eq!(decode([capsule(&[0xc0, 0], 0)]), Err(CapsuleError::Malformed));
    }

    #[test]
    fn the_old_draft_has_no_context_ids() {
        let payloads = ["", "a", "\u{2}looks like a context"];
        let mut wire = BytesMut::new();
        for payload in payloads {
            let before = wire.len();
            Format::Draft03.encode(payload.as_bytes(), &mut wire);
            assert_eq!(wire.len() - before, Format::Draft03.encoded_len(payload.len()));
        }
        assert_eq!(&wire[..5], b"\x00\x00\x00\x01a");
        let (mut decoder, mut chunk) = (Decoder::with_format(Format::Draft03), wire.freeze());
        for payload in payloads {
            assert_eq!(decoder.decode(&mut chunk), Ok(Some(Bytes::from(payload))));
        }
        assert_eq!((decoder.decode(&mut chunk), decoder.finish()), (Ok(None), Ok(())));
    }

    #[test]
    fn an_end_inside_a_capsule_is_truncation() {
        let wire = wire_of(&["payload"]);
        for end in 1..wire.len() {
            assert_eq!(decode([wire.slice(..end)]), Err(CapsuleError::Truncated), "{end}");
        }
    }

    proptest! {
        #[test]
        fn any_cuts_give_the_same_payloads(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
            cuts in prop::collection::vec(1..300_usize, 1..40),
        ) {
            let mut wire = wire_of(&payloads);
            let mut cuts = cuts.into_iter().cycle();
            let chunks = std::iter::from_fn(|| {
                let size = cuts.next()?.min(wire.len());
                (size > 0).then(|| wire.split_to(size))
            });
            prop_assert_eq!(decode(chunks).unwrap().0, payloads);
        }

        #[test]
        fn hostile_streams_end_alike_however_they_are_cut(bytes: Vec<u8>, size in 1..9_usize) {
            let wire = Bytes::from(bytes);
            prop_assert_eq!(decode(cut(&wire, size)), decode([wire.clone()]));
        }
    }
}
