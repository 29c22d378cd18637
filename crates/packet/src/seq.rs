use std::fmt;

/// A TCP sequence number (RFC 9293 §3.4): a point on a circle of 2³² octets.
///
/// Circular order is not a total order, so there is neither `Ord` nor `-`: ask for the signed
/// distance from a base, or whether a number lies in a window.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNumber(u32);

impl SeqNumber {
    /// The number with this wire value.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The wire value.
    pub const fn to_u32(self) -> u32 {
        self.0
    }

    /// The number `octets` further on, around the circle where need be.
    #[must_use]
    pub const fn advance(self, octets: u32) -> Self {
        Self(self.0.wrapping_add(octets))
    }

    /// How far this number lies behind (negative) or ahead (positive) of `base`, by the shorter
    /// way round; exactly half a circle counts as behind.
    pub const fn offset_from(self, base: Self) -> i32 {
        self.0.wrapping_sub(base.0).cast_signed()
    }

    /// Whether this number is one of the `len` numbers that begin with `start`.
    pub const fn in_window(self, start: Self, len: u32) -> bool {
        self.0.wrapping_sub(start.0) < len
    }
}

impl fmt::Debug for SeqNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seq({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::SeqNumber;

    const LAST: SeqNumber = SeqNumber::new(u32::MAX);

    #[test]
    fn d20_arithmetic_wraps_around() {
        assert_eq!(LAST.advance(1), SeqNumber::new(0));
        assert_eq!(LAST.advance(11).offset_from(LAST), 11);
        assert_eq!(LAST.offset_from(LAST.advance(11)), -11);
    }

    #[test]
    fn half_a_circle_never_panics() {
        assert_eq!(SeqNumber::new(1 << 31).offset_from(SeqNumber::new(0)), i32::MIN);
    }

    #[test]
    fn a_window_spans_the_wrap_and_excludes_its_end() {
        let start = SeqNumber::new(u32::MAX - 1);
        assert!(start.in_window(start, 4));
        assert!(SeqNumber::new(1).in_window(start, 4));
        assert!(!SeqNumber::new(2).in_window(start, 4));
        assert!(!SeqNumber::new(u32::MAX - 2).in_window(start, 4));
        assert!(!start.in_window(start, 0));
    }
}
