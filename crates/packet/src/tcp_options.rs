use std::fmt;

use bytes::{BufMut, BytesMut};

use crate::ParseError;
use crate::seq::SeqNumber;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;

/// Octets that a header has for options (RFC 9293 §3.1).
const MAX_LEN: usize = 40;

/// RFC 7323 §2.3: a larger shift counts as this one.
const MAX_WINDOW_SCALE: u8 = 14;

/// The options of a TCP header; the same form is read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// The largest segment that the sender takes, in octets of payload (RFC 9293 §3.7.1).
    pub mss: Option<u16>,
    /// The shift of the sender's windows, at most 14 (RFC 7323 §2).
    pub window_scale: Option<u8>,
    /// Whether SACK may be sent (RFC 2018 §2).
    pub sack_permitted: bool,
    /// The timestamps (RFC 7323 §3).
    pub timestamps: Option<Timestamps>,
    /// What arrived out of order (RFC 2018 §3). Written as far as the header has room: with
    /// timestamps three blocks.
    pub sack: SackBlocks,
}

/// The timestamps option (RFC 7323 §3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamps {
    /// The sender's clock (`TSval`).
    pub value: u32,
    /// The latest value that the sender got (`TSecr`); it counts only with the ACK flag.
    pub echo: u32,
}

/// Up to four blocks of octets, each from its first number to the one behind its last.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct SackBlocks {
    blocks: [(SeqNumber, SeqNumber); Self::MAX],
    len: u8,
}

impl SackBlocks {
    /// What a header has room for (RFC 2018 §3).
    pub const MAX: usize = 4;

    /// Appends a block; `false` where four are held already.
    pub fn push(&mut self, start: SeqNumber, end: SeqNumber) -> bool {
        let free = self.blocks.get_mut(usize::from(self.len));
        let pushed = free.map(|block| *block = (start, end)).is_some();
        self.len += u8::from(pushed);
        pushed
    }

    /// The blocks, in the order of the option.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (SeqNumber, SeqNumber)> {
        self.blocks.iter().take(usize::from(self.len)).copied()
    }

    /// The number of blocks.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Of more than four blocks the first four.
impl FromIterator<(SeqNumber, SeqNumber)> for SackBlocks {
    fn from_iter<I: IntoIterator<Item = (SeqNumber, SeqNumber)>>(blocks: I) -> Self {
        blocks.into_iter().fold(Self::default(), |mut all, (start, end)| {
            all.push(start, end);
            all
        })
    }
}

impl fmt::Debug for SackBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl TcpOptions {
    /// Reads the options behind a header that was measured.
    pub(crate) fn read(octets: &[u8]) -> Self {
        let mut options = Self::default();
        RawOptions(octets).filter_map(Result::ok).for_each(|(kind, data)| options.set(kind, data));
        options
    }

    /// RFC 9293 §3.1, MUST-6: what is unknown is passed over.
    fn set(&mut self, kind: u8, data: &[u8]) {
        match (kind, data) {
            (MSS, &[a, b]) => self.mss = Some(u16::from_be_bytes([a, b])),
            (WINDOW_SCALE, &[shift]) => self.window_scale = Some(shift.min(MAX_WINDOW_SCALE)),
            (SACK_PERMITTED, []) => self.sack_permitted = true,
            (TIMESTAMPS, data) => self.timestamps = pair(data).map(Timestamps::from),
            (SACK, data) if data.len() % 8 == 0 => {
                let blocks = data.as_chunks::<8>().0.iter().filter_map(|block| pair(block));
                self.sack = blocks.map(|(a, b)| (SeqNumber::new(a), SeqNumber::new(b))).collect();
            }
            _ => {}
        }
    }

    /// Octets that writing takes: a multiple of four, at most 40.
    pub(crate) fn encoded_len(&self) -> usize {
        self.fixed_len() + self.writable_blocks().map_or(0, |blocks| 4 + 8 * blocks)
    }

    /// Writes each option behind as many no-operations as align its end to a word.
    pub(crate) fn write(&self, head: &mut BytesMut) {
        if let Some(mss) = self.mss {
            head.put_slice(&[MSS, 4]);
            head.put_u16(mss);
        }
        if let Some(shift) = self.window_scale {
            head.put_slice(&[NO_OPERATION, WINDOW_SCALE, 3, shift.min(MAX_WINDOW_SCALE)]);
        }
        if self.sack_permitted {
            head.put_slice(&[NO_OPERATION, NO_OPERATION, SACK_PERMITTED, 2]);
        }
        if let Some(Timestamps { value, echo }) = self.timestamps {
            head.put_slice(&[NO_OPERATION, NO_OPERATION, TIMESTAMPS, 10]);
            head.put_u32(value);
            head.put_u32(echo);
        }
        self.write_sack(head);
    }

    fn write_sack(&self, head: &mut BytesMut) {
        let Some(blocks) = self.writable_blocks() else { return };
        let len = u8::try_from(2 + 8 * blocks).unwrap_or_default();
        head.put_slice(&[NO_OPERATION, NO_OPERATION, SACK, len]);
        for (start, end) in self.sack.iter().take(blocks) {
            head.put_u32(start.to_u32());
            head.put_u32(end.to_u32());
        }
    }

    fn fixed_len(&self) -> usize {
        let words = usize::from(self.mss.is_some())
            + usize::from(self.window_scale.is_some())
            + usize::from(self.sack_permitted)
            + usize::from(self.timestamps.is_some()) * 3;
        words * 4
    }

    /// The number of blocks that there is room for, if any.
    fn writable_blocks(&self) -> Option<usize> {
        let room = MAX_LEN.saturating_sub(self.fixed_len() + 4) / 8;
        Some(self.sack.len().min(room)).filter(|blocks| *blocks > 0)
    }
}

impl From<(u32, u32)> for Timestamps {
    fn from((value, echo): (u32, u32)) -> Self {
        Self { value, echo }
    }
}

fn pair(data: &[u8]) -> Option<(u32, u32)> {
    let (&[first, second], []) = data.as_chunks::<4>() else { return None };
    Some((u32::from_be_bytes(first), u32::from_be_bytes(second)))
}

/// Validates the lengths of all options.
pub(crate) fn measure(octets: &[u8]) -> Result<(), ParseError> {
    RawOptions(octets).try_for_each(|option| option.map(drop))
}

/// One pass over the options: kind and data of each but no-operations, to the end of the list.
/// Each step takes at least one octet or ends, so that no length can make it loop.
struct RawOptions<'a>(&'a [u8]);

impl<'a> Iterator for RawOptions<'a> {
    type Item = Result<(u8, &'a [u8]), ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((&NO_OPERATION, rest)) = self.0.split_first() {
            self.0 = rest;
        }
        let octets = std::mem::take(&mut self.0);
        let kind = *octets.first().filter(|kind| **kind != END)?;
        let option = octets
            .get(1)
            .and_then(|len| octets.split_at_checked(usize::from(*len)))
            .and_then(|(option, rest)| Some((option.get(2..)?, rest)));
        let Some((data, rest)) = option else {
            return Some(Err(ParseError::TcpOptionLength));
        };
        self.0 = rest;
        Some(Ok((kind, data)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn d11_impossible_lengths_are_errors() {
        for octets in [&[8, 0][..], &[8, 1], &[2], &[1, 1, 2, 5, 0, 0], &[254, 255, 0, 0]] {
            assert_eq!(measure(octets), Err(ParseError::TcpOptionLength), "{octets:?}");
        }
    }

    #[test]
    fn the_list_ends_at_its_end_mark() {
        assert_eq!(measure(&[1, 0, 8, 0]), Ok(()));
        assert_eq!(TcpOptions::read(&[0, 0, 4, 2]), TcpOptions::default());
    }

    #[test]
    fn known_kinds_of_unfitting_length_are_passed_over() {
        let options = TcpOptions::read(&[2, 3, 9, 8, 3, 5, 30, 4, 0, 0, 4, 2]);
        assert!(options.sack_permitted);
        assert_eq!(TcpOptions { sack_permitted: false, ..options }, TcpOptions::default());
    }

    #[test]
    fn d15_the_shift_is_at_most_14() {
        assert_eq!(TcpOptions::read(&[3, 3, 200]).window_scale, Some(14));
    }

    #[test]
    fn blocks_give_way_to_other_options() {
        let block = (SeqNumber::new(1), SeqNumber::new(2));
        let timestamps = Some(Timestamps::default());
        let options =
            TcpOptions { timestamps, sack: [block; 4].into_iter().collect(), ..<_>::default() };
        assert_eq!(options.encoded_len(), 40);
        assert_eq!(round_trip(&options).sack.len(), 3);
    }

    fn round_trip(options: &TcpOptions) -> TcpOptions {
        let mut octets = BytesMut::new();
        options.write(&mut octets);
        assert_eq!(octets.len(), options.encoded_len());
        assert_eq!(measure(&octets), Ok(()));
        TcpOptions::read(&octets)
    }

    prop_compose! {
        fn any_options()(
            mss: Option<u16>,
            window_scale in prop::option::of(0..=14u8),
            sack_permitted: bool,
            timestamps: Option<(u32, u32)>,
            sack in prop::collection::vec(any::<(u32, u32)>(), 0..=4),
        ) -> TcpOptions {
            let sack = sack.into_iter().map(|(a, b)| (SeqNumber::new(a), SeqNumber::new(b)));
            let (timestamps, sack) = (timestamps.map(Timestamps::from), sack.collect());
            TcpOptions { mss, window_scale, sack_permitted, timestamps, sack }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(options in any_options()) {
            let read = round_trip(&options);
            let blocks = options.writable_blocks().unwrap_or(0);
            let sack = options.sack.iter().take(blocks).collect();
            prop_assert!(options.encoded_len() <= MAX_LEN);
            prop_assert_eq!(read, TcpOptions { sack, ..options });
        }

        #[test]
        fn no_octets_panic(octets in prop::collection::vec(any::<u8>(), 0..=40)) {
            let valid = measure(&octets).is_ok();
            prop_assert!(RawOptions(&octets).count() <= octets.len());
            prop_assert_eq!(valid, RawOptions(&octets).all(|option| option.is_ok()));
        }
    }
}
