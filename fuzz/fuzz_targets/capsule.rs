//! Any stream of capsules: cut in another way it means the same, and what is encoded is decoded.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use pseudotcp_masque::capsule::{CapsuleError, Piece, Reader};
use pseudotcp_masque::datagram::{Decoder, MAX_PAYLOAD, encode};

fuzz_target!(|input: (Vec<u8>, Vec<&[u8]>, &[u8])| {
    let (cuts, payloads, stream) = input;
    let stream = Bytes::copy_from_slice(stream);
    let whole = decode([stream.clone()]);
    assert_eq!(decode(cut(&stream, &cuts)), whole);
    assert_eq!(merged_pieces(cut(&stream, &cuts)), merged_pieces([stream]));
    assert!(whole.0.iter().all(|payload| payload.len() <= MAX_PAYLOAD));

    let mut wire = BytesMut::new();
    payloads.iter().for_each(|payload| encode(payload, &mut wire));
    let (decoded, end) = decode(cut(&wire.freeze(), &cuts));
    assert_eq!((decoded.iter().map(Bytes::as_ref).collect::<Vec<_>>(), end), (payloads, Ok(())));
});

/// The stream in chunks of the given lengths, over and over.
fn cut(stream: &Bytes, lengths: &[u8]) -> Vec<Bytes> {
    let mut rest = stream.clone();
    let mut lengths = lengths.iter().map(|len| usize::from(*len) + 1).cycle();
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let len = lengths.next().unwrap_or(rest.len()).min(rest.len());
        chunks.push(rest.split_to(len));
    }
    chunks
}

/// All payloads up to the end or the first error, and how it ended.
fn decode(chunks: impl IntoIterator<Item = Bytes>) -> (Vec<Bytes>, Result<(), CapsuleError>) {
    let (mut decoder, mut payloads) = (Decoder::new(), Vec::new());
    for mut chunk in chunks {
        loop {
            match decoder.decode(&mut chunk) {
                Ok(Some(payload)) => payloads.push(payload),
                Ok(None) => break,
                Err(error) => return (payloads, Err(error)),
            }
        }
        assert!(chunk.is_empty(), "a chunk was not used up");
    }
    (payloads, decoder.finish())
}

/// The heads and values of a stream, each value in one piece.
fn merged_pieces(chunks: impl IntoIterator<Item = Bytes>) -> (Vec<(u64, u64, Vec<u8>)>, bool) {
    let (mut reader, mut capsules) = (Reader::new(), Vec::new());
    for mut chunk in chunks {
        while let Some(piece) = reader.read(&mut chunk) {
            match piece {
                Piece::Head { kind, length } => capsules.push((kind.to_u64(), length, Vec::new())),
                Piece::Value(part) => {
                    let (_, length, value) = capsules.last_mut().expect("a value without a head");
                    value.extend_from_slice(&part);
                    assert!(!part.is_empty() && value.len() as u64 <= *length);
                }
            }
        }
    }
    (capsules, reader.finish().is_ok())
}
