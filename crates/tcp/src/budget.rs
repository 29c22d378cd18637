/// The bytes that all flows may buffer together.
///
/// A flow's room is a share of what is left, so shares shrink together as the budget fills
/// (a dynamic threshold). Its last eighth is never promised to anyone: it takes up what windows
/// that were promised earlier still bring.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: usize,
}

/// A flow may be promised this part of what is left.
const SHARE: usize = 8;

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: 0 }
    }

    /// A flow that held `before` bytes now holds `after`.
    pub(crate) fn update(&mut self, before: usize, after: usize) {
        self.used = self.used.saturating_sub(before).saturating_add(after);
        // DESIGN: total buffered ≤ budget; every producer asks for room first.
        debug_assert!(self.used <= self.limit, "budget exceeded: {} > {}", self.used, self.limit);
    }

    /// How many bytes can still be taken in.
    pub(crate) fn left(&self) -> usize {
        self.limit.saturating_sub(self.used)
    }

    /// How many more bytes one flow may be promised.
    pub(crate) fn room(&self) -> usize {
        if self.left() < self.limit / SHARE { 0 } else { self.left() / SHARE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_shrink_as_it_fills_and_the_reserve_is_promised_to_no_one() {
        let mut budget = Budget::new(800);
        assert_eq!(budget.room(), 100);
        budget.update(0, 400);
        assert_eq!(budget.room(), 50);
        budget.update(400, 701);
        assert_eq!((budget.room(), budget.left()), (0, 99));
        budget.update(701, 0);
        assert_eq!(budget.room(), 100);
    }
}
