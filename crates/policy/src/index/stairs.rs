/// How many keys of a level one key of the level above stands for: a cache line of `u32`s.
const FANOUT: usize = 16;

/// Sorted numbers, searched from level to level: each holds every sixteenth number of the one below,
/// so that a search of 200,000 numbers touches five short runs, most of which stay in the cache.
#[derive(Clone, Debug)]
pub(super) struct Stairs<T> {
    /// The lowest level, which holds all numbers, comes last.
    levels: Vec<Level<T>>,
}

/// Sorted numbers in runs of equal length; the last run is filled up with the last number.
#[derive(Clone, Debug)]
struct Level<T> {
    runs: Box<[[T; FANOUT]]>,
    last: usize,
}

impl<T: Ord + Copy> Stairs<T> {
    /// From numbers in strictly ascending order.
    pub(super) fn new(mut sorted: Vec<T>) -> Self {
        debug_assert!(sorted.is_sorted_by(|a, b| a < b));
        let mut levels = Vec::new();
        while let Some(level) = Level::new(&sorted) {
            sorted = level.runs.iter().map(|[first, ..]| *first).collect();
            levels.push(level);
            if sorted.len() == 1 {
                break;
            }
        }
        levels.reverse();
        Self { levels }
    }

    /// The place of the largest number that is not above `value`.
    pub(super) fn floor(&self, value: T) -> Option<usize> {
        let levels = Some(&self.levels).filter(|levels| !levels.is_empty())?;
        levels.iter().try_fold(0, |run, level| {
            let numbers = level.runs.get(run)?;
            // Counting all sixteen beats stopping early: nothing depends on what comes out.
            let not_above =
                numbers.iter().map(|number| usize::from(*number <= value)).sum::<usize>();
            // Of the numbers that fill the last run up, none is of interest.
            Some((run * FANOUT + not_above.checked_sub(1)?).min(level.last))
        })
    }
}

impl<T: Copy> Level<T> {
    /// None without numbers.
    fn new(sorted: &[T]) -> Option<Self> {
        let last = *sorted.last()?;
        let fill = |run: &[T]| {
            let mut numbers = run.iter().copied();
            std::array::from_fn(|_| numbers.next().unwrap_or(last))
        };
        let runs = sorted.chunks(FANOUT).map(fill).collect();
        Some(Self { runs, last: sorted.len() - 1 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_fills_the_last_run_up_is_never_found() {
        let stairs = Stairs::new((0..=17).collect::<Vec<u32>>());
        assert_eq!([17, 18, u32::MAX].map(|value| stairs.floor(value)), [Some(17); 3]);
    }

    #[test]
    fn nothing_is_below_the_first_number_and_none_is_needed() {
        assert_eq!(Stairs::<u32>::new(Vec::new()).floor(7), None, "of no numbers");
        assert_eq!(Stairs::new(vec![5]).floor(4), None);
        assert_eq!(Stairs::new(vec![5]).floor(5), Some(0));
    }

    proptest! {
        #[test]
        fn a_search_by_levels_finds_what_a_plain_one_finds(
            numbers in btree_set(0..8_000u32, 0..1_000),
            values in proptest::collection::vec(0..8_100u32, 1..100),
        ) {
            let sorted: Vec<u32> = numbers.into_iter().collect();
            let stairs = Stairs::new(sorted.clone());
            for value in values {
                let plain = sorted.partition_point(|number| *number <= value).checked_sub(1);
                prop_assert_eq!(stairs.floor(value), plain);
            }
        }
    }
}
