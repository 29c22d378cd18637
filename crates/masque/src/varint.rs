//! Variable-length integers (RFC 9000 §16): 1, 2, 4 or 8 bytes, the length in the top two bits.
//!
//! ```
//! use bytes::BytesMut;
//! use pseudotcp_masque::varint::VarInt;
//!
//! let mut wire = BytesMut::new();
//! VarInt::from_u32(15_293).encode(&mut wire);
//! assert_eq!(&wire[..], [0x7b, 0xbd]);
//! assert_eq!(VarInt::decode(&wire), Some((VarInt::from_u32(15_293), 2)));
//! ```

use std::fmt;

use bytes::BufMut;

/// An integer of at most 62 bits, as capsules and HTTP datagrams carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VarInt(u64);

impl VarInt {
    /// The largest value: 2⁶² − 1.
    pub const MAX: Self = Self((1 << 62) - 1);

    /// The most bytes that one value takes on the wire.
    pub const MAX_LEN: usize = 8;

    /// The value as a variable-length integer; `None` where it takes more than 62 bits.
    pub const fn new(value: u64) -> Option<Self> {
        if value <= Self::MAX.0 { Some(Self(value)) } else { None }
    }

    /// The value as a variable-length integer; 32 bits always fit.
    pub const fn from_u32(value: u32) -> Self {
        Self(value as u64)
    }

    /// The plain value.
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// The length in bytes of the shortest encoding: 1, 2, 4 or 8.
    pub const fn encoded_len(self) -> usize {
        match self.0 {
            0..=0x3f => 1,
            0x40..=0x3fff => 2,
            0x4000..=0x3fff_ffff => 4,
            _ => 8,
        }
    }

    /// Appends the shortest encoding.
    pub fn encode(self, out: &mut impl BufMut) {
        let length = self.encoded_len();
        // RFC 9000 §16: the two highest bits hold the base-2 logarithm of the length.
        let prefix = u64::from(length.trailing_zeros()) << (8 * length - 2);
        out.put_uint(prefix | self.0, length);
    }

    /// Reads one value from the front of `bytes`, whatever length its sender chose, and tells how
    /// many bytes it took. `None` means that more bytes are needed.
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let first = *bytes.first()?;
        let length = 1_usize << (first >> 6);
        let rest = bytes.get(1..length)?;
        let value = rest.iter().fold(u64::from(first & 0x3f), |v, byte| v << 8 | u64::from(*byte));
        Some((Self(value), length))
    }
}

impl From<u32> for VarInt {
    fn from(value: u32) -> Self {
        Self::from_u32(value)
    }
}

impl fmt::Display for VarInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        VarInt::new(value).unwrap().encode(&mut out);
        out
    }

    /// The samples of RFC 9000, appendix A.1.
    #[test]
    fn samples_of_the_rfc() {
        let samples: [(&[u8], u64); 4] = [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
        ];
        for (wire, value) in samples {
            assert_eq!(VarInt::decode(wire).unwrap(), (VarInt(value), wire.len()));
            assert_eq!(encoded(value), wire);
        }
    }

    #[test]
    fn longer_encodings_are_read_too() {
        assert_eq!(VarInt::decode(&[0x40, 0x25, 0xff]), Some((VarInt(37), 2)));
    }

    #[test]
    fn d42_four_byte_lengths_keep_all_their_bytes() {
        for value in [0x4000, 70_000, 0x3fff_ffff] {
            let wire = encoded(value);
            assert_eq!(wire.len(), 4);
            assert_eq!(VarInt::decode(&wire), Some((VarInt(value), 4)));
        }
    }

    #[test]
    fn each_length_begins_where_the_shorter_one_ends() {
        for (value, length) in
            [(63, 1), (64, 2), (16_383, 2), (16_384, 4), (1_073_741_823, 4), (1_073_741_824, 8)]
        {
            assert_eq!(encoded(value).len(), length, "{value}");
        }
        assert_eq!(VarInt::new(1 << 62), None);
    }

    proptest! {
        #[test]
        fn round_trip(value in 0..=VarInt::MAX.0, tail: Vec<u8>) {
            let mut wire = encoded(value);
            let length = wire.len();
            for cut in 0..length {
                prop_assert_eq!(VarInt::decode(&wire[..cut]), None);
            }
            wire.extend(tail);
            prop_assert_eq!(VarInt::decode(&wire), Some((VarInt(value), length)));
        }
    }
}
