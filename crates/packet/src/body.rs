use std::ops::{Deref, Range};

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

/// The payload of a packet: zero, one or up to 16 slices, none of them empty.
///
/// Collecting more than 16 slices copies what does not fit into the last one.
#[derive(Clone, Debug, Default)]
pub struct Body(SmallVec<[Bytes; 1]>);

impl Body {
    /// The largest number of slices, so that a device can write them by one vectored call.
    pub const MAX_SLICES: usize = 16;

    /// The number of octets in all slices.
    pub fn octets(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// The octets of a range, as slices of these slices; what lies outside is left out.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        let mut start = 0;
        let parts = self.0.iter().filter_map(|slice| {
            let from = range.start.clamp(start, start + slice.len()) - start;
            let to = range.end.clamp(start, start + slice.len()) - start;
            start += slice.len();
            (from < to).then(|| slice.slice(from..to))
        });
        Self(parts.collect())
    }
}

impl Deref for Body {
    type Target = [Bytes];

    fn deref(&self) -> &[Bytes] {
        &self.0
    }
}

impl From<Bytes> for Body {
    fn from(slice: Bytes) -> Self {
        let mut slices = SmallVec::new();
        if !slice.is_empty() {
            slices.push(slice);
        }
        Self(slices)
    }
}

impl FromIterator<Bytes> for Body {
    fn from_iter<I: IntoIterator<Item = Bytes>>(slices: I) -> Self {
        let mut slices = slices.into_iter().filter(|slice| !slice.is_empty());
        let mut body: SmallVec<[Bytes; 1]> = slices.by_ref().take(Self::MAX_SLICES).collect();
        let mut rest = slices.peekable();
        if rest.peek().is_some() {
            let mut tail = BytesMut::from(body.pop().unwrap_or_default());
            rest.for_each(|slice| tail.extend_from_slice(&slice));
            body.push(tail.freeze());
        }
        Self(body)
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, Bytes};

    #[test]
    fn empty_slices_vanish() {
        assert!(Body::from(Bytes::new()).is_empty());
        assert!([Bytes::new(), Bytes::new()].into_iter().collect::<Body>().is_empty());
    }

    #[test]
    fn the_seventeenth_slice_joins_the_last() {
        let body: Body = (b'a'..=b's').map(|c| Bytes::from(vec![c])).collect();
        assert_eq!(body.len(), Body::MAX_SLICES);
        assert_eq!(body.concat(), b"abcdefghijklmnopqrs");
    }

    #[test]
    fn a_range_may_cross_slices() {
        let body: Body = ["abc", "de", "fgh"].map(Bytes::from).into_iter().collect();
        assert_eq!(body.slice(2..6).concat(), b"cdef");
        assert_eq!(body.slice(3..5).len(), 1);
        assert_eq!(body.slice(7..99).concat(), b"h");
        assert!(body.slice(8..9).is_empty());
    }
}
