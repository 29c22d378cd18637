//! The Internet checksum (RFC 1071): one's complement sums over pieces of any length.

use std::net::IpAddr;

/// A one's complement sum in progress; pieces may end on odd octets.
///
/// ```
/// use pseudotcp_packet::checksum::Sum;
///
/// let whole = Sum::default().with(&[0x12, 0x34, 0x56]);
/// let split = Sum::default().with(&[0x12]).with(&[0x34, 0x56]);
/// assert_eq!(whole.checksum(), split.checksum());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// Of 16-bit words in this machine's byte order: the sum does not mind (RFC 1071 §2 (B)).
    total: u64,
    odd: bool,
}

impl Sum {
    /// The sum with `bytes` added behind what was added before.
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Self {
        let sum = sum_words(bytes);
        // A piece that begins on an odd octet counts with its octets swapped.
        let sum = if self.odd { u64::from(fold(sum).swap_bytes()) } else { sum };
        Self { total: self.total + sum, odd: self.odd ^ (bytes.len() % 2 == 1) }
    }

    /// The 16-bit sum, not complemented: what a checksum field holds for
    /// [`Checksum::Partial`](crate::Checksum::Partial).
    pub const fn folded(self) -> u16 {
        u16::from_be(fold(self.total))
    }

    /// The checksum: the complement of the sum.
    pub const fn checksum(self) -> u16 {
        !self.folded()
    }

    /// Whether a sum that includes the checksum field shows no error.
    pub const fn is_valid(self) -> bool {
        self.folded() == 0xFFFF
    }
}

/// The sum of the pseudo-header of TCP, UDP and `ICMPv6` (RFC 9293 §3.1, RFC 8200 §8.1); `len` is
/// that of transport header and payload.
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, len: u32) -> Sum {
    let sum = Sum::default().with(&u32::from(protocol).to_be_bytes()).with(&len.to_be_bytes());
    add_address(add_address(sum, source), destination)
}

fn add_address(sum: Sum, address: IpAddr) -> Sum {
    match address {
        IpAddr::V4(v4) => sum.with(&v4.octets()),
        IpAddr::V6(v6) => sum.with(&v6.octets()),
    }
}

/// Independent sums, so that the loop vectorises.
const LANES: usize = 8;

/// Sums 32-bit words into 64 bits, which cannot overflow below 2³² words.
fn sum_words(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<{ 4 * LANES }>();
    let mut lanes = [0; LANES];
    for block in blocks {
        let words = block.as_chunks::<4>().0;
        lanes.iter_mut().zip(words).for_each(|(lane, word)| *lane += value(*word));
    }
    let (words, rest) = rest.as_chunks::<4>();
    let last = match *rest {
        [a, b, c] => [a, b, c, 0],
        [a, b] => [a, b, 0, 0],
        [a] => [a, 0, 0, 0],
        _ => [0; 4],
    };
    lanes.iter().sum::<u64>() + words.iter().map(|word| value(*word)).sum::<u64>() + value(last)
}

fn value(word: [u8; 4]) -> u64 {
    u32::from_ne_bytes(word).into()
}

#[expect(clippy::cast_possible_truncation, reason = "three additions leave 16 bits")]
const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xFFFF_FFFF);
    let sum = (sum >> 32) + (sum & 0xFFFF_FFFF);
    let sum = (sum >> 16) + (sum & 0xFFFF);
    let sum = (sum >> 16) + (sum & 0xFFFF);
    sum as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Sum, pseudo_header};

    /// The plain twin: 16-bit words, the carry put back at once.
    fn plain(bytes: &[u8]) -> u16 {
        let sum = bytes.chunks(2).fold(0u32, |sum, pair| {
            let word = u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
            let sum = sum + word;
            (sum & 0xFFFF) + (sum >> 16)
        });
        u16::try_from(sum).unwrap()
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let sum = Sum::default().with(&[0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]);
        assert_eq!(sum.folded(), 0xDDF2);
        assert_eq!(sum.checksum(), 0x220D);
    }

    #[test]
    fn carries_fold_to_the_end() {
        assert_eq!(Sum::default().with(&vec![0xFF; 65_536]).folded(), 0xFFFF);
        assert!(Sum::default().with(&vec![0xFF; 65_535]).with(&[0xFF]).is_valid());
    }

    #[test]
    fn the_pseudo_header_is_that_of_the_rfc() {
        let sum = pseudo_header([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 6, 20);
        assert_eq!(sum.folded(), plain(&[10, 0, 0, 1, 10, 0, 0, 2, 0, 6, 0, 20]));
    }

    proptest! {
        #[test]
        fn equals_the_plain_twin(bytes in prop::collection::vec(any::<u8>(), 0..3_000)) {
            prop_assert_eq!(Sum::default().with(&bytes).folded(), plain(&bytes));
        }

        #[test]
        fn splits_do_not_matter(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..16)
        ) {
            let split = pieces.iter().fold(Sum::default(), |sum, piece| sum.with(piece));
            prop_assert_eq!(split.folded(), plain(&pieces.concat()));
        }
    }
}
