/// A set of numbers as sorted, disjoint, inclusive ranges; a look-up is one binary search.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RangeSet<T> {
    ranges: Box<[(T, T)]>,
}

impl<T: Ord + Copy> RangeSet<T> {
    pub(crate) fn contains(&self, value: T) -> bool {
        let after = self.ranges.partition_point(|&(first, _)| first <= value);
        let candidate = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        candidate.is_some_and(|&(_, last)| value <= last)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

impl<T> Default for RangeSet<T> {
    fn default() -> Self {
        Self { ranges: Box::default() }
    }
}

/// From `(first, last)` pairs in any order; an inverted pair holds nothing.
impl<T: Ord + Copy> FromIterator<(T, T)> for RangeSet<T> {
    fn from_iter<I: IntoIterator<Item = (T, T)>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter(|(first, last)| first <= last).collect();
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let overlaps = next.0 <= kept.1;
            if overlaps {
                kept.1 = kept.1.max(next.1);
            }
            overlaps
        });
        Self { ranges: ranges.into() }
    }
}
