/// An address as a number.
pub(super) trait Number: Ord + Copy {
    /// The number behind this one.
    fn next(self) -> Option<Self>;
    /// How far this number is above another.
    fn above(self, other: Self) -> Option<Self>;
    /// How many bits it takes.
    fn bits(self) -> u32;
    /// What is left of it without its last bits.
    fn without(self, bits: u32) -> usize;
}

macro_rules! number {
    ($type:ty) => {
        impl Number for $type {
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }

            fn above(self, other: Self) -> Option<Self> {
                self.checked_sub(other)
            }

            fn bits(self) -> u32 {
                Self::BITS - self.leading_zeros()
            }

            fn without(self, bits: u32) -> usize {
                self.checked_shr(bits).map_or(0, |rest| usize::try_from(rest).unwrap_or(usize::MAX))
            }
        }
    };
}

number!(u32);
number!(u128);

/// Runs of numbers, each from its first number up to the next run, and with a value.
///
/// A table cuts the span of all runs into equal parts, about as many as there are runs, and tells which
/// runs begin in each of them. So a search looks at one place of the table and at one or two of the
/// runs; where runs crowd in some parts it is a binary search among those.
#[derive(Clone, Debug)]
pub(super) struct Runs<T, V> {
    sorted: Box<[(T, V)]>,
    /// How many runs begin before each part, and behind all of them how many there are.
    parts: Box<[u32]>,
    /// How many bits of a number's distance from the first run are left out to find its part.
    shift: u32,
}

impl<T: Number, V> Runs<T, V> {
    /// From runs in strictly ascending order, fewer than 2³².
    pub(super) fn new(runs: Box<[(T, V)]>) -> Self {
        debug_assert!(runs.is_sorted_by(|(a, _), (b, _)| a < b));
        let (Some((first, _)), Some((last, _))) = (runs.first(), runs.last()) else {
            return Self { sorted: runs, parts: Box::default(), shift: 0 };
        };
        let bits = runs.len().next_power_of_two().trailing_zeros();
        let shift = last.above(*first).map_or(0, T::bits).saturating_sub(bits);
        let part = |number: T| number.above(*first).map_or(0, |above| above.without(shift));
        let begin_before = |end: usize| runs.partition_point(|(number, _)| part(*number) < end);
        let ends = (0..=part(*last)).map(begin_before).chain([runs.len()]);
        let parts = ends.map(|end| u32::try_from(end).unwrap_or(u32::MAX)).collect();
        Self { sorted: runs, parts, shift }
    }

    /// The value of the run that holds a number.
    pub(super) fn find(&self, number: T) -> Option<&V> {
        let (first, _) = self.sorted.first()?;
        let part = number.above(*first)?.without(self.shift).min(self.parts.len().checked_sub(2)?);
        let (from, to) = (*self.parts.get(part)? as usize, *self.parts.get(part + 1)? as usize);
        let begun = self.sorted.get(from..to)?.partition_point(|(first, _)| *first <= number);
        self.sorted.get((from + begun).checked_sub(1)?).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    fn runs<T: Number>(numbers: impl IntoIterator<Item = T>) -> Runs<T, T> {
        Runs::new(numbers.into_iter().map(|number| (number, number)).collect())
    }

    #[test]
    fn nothing_is_below_the_first_run_and_the_last_one_has_no_end() {
        assert_eq!(runs::<u32>([]).find(7), None);
        assert_eq!(
            [4, 5, u32::MAX].map(|at| runs([5]).find(at).copied()),
            [None, Some(5), Some(5)]
        );
        let whole = runs([0, 1, u32::MAX]);
        assert_eq!([0, 2, u32::MAX].map(|at| *whole.find(at).unwrap()), [0, 1, u32::MAX]);
        let wide = runs([0, u128::MAX]);
        assert_eq!(
            [0, u128::MAX - 1, u128::MAX].map(|at| *wide.find(at).unwrap()),
            [0, 0, u128::MAX]
        );
    }

    /// Numbers that crowd at some places and are rare at others.
    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![0..500u32, 70_000..70_100u32, any::<u32>(), (u32::MAX - 99)..=u32::MAX]
    }

    proptest! {
        #[test]
        fn a_search_by_parts_finds_what_a_plain_one_finds(
            numbers in btree_set(number(), 0..400),
            values in vec(number(), 1..100),
        ) {
            let (narrow, wide) = (runs(numbers.clone()), runs(numbers.iter().map(|n| u128::from(*n) << 90)));
            for value in values {
                let plain = numbers.range(..=value).next_back().copied();
                prop_assert_eq!(narrow.find(value).copied(), plain);
                let found = wide.find(u128::from(value) << 90).copied();
                prop_assert_eq!(found, plain.map(|plain| u128::from(plain) << 90));
            }
        }
    }
}
