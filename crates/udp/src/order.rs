/// The two lists of the eviction order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rank {
    /// Flows in which nothing waits; evicted first.
    Empty,
    /// Flows that hold datagrams.
    Holding,
}

impl Rank {
    /// The node that closes the list's ring.
    fn sentinel(self) -> u32 {
        match self {
            Self::Empty => 0,
            Self::Holding => 1,
        }
    }
}

/// The first node that belongs to a flow.
const FIRST: u32 = 2;

#[derive(Clone, Copy, Debug)]
struct Node {
    previous: u32,
    next: u32,
}

/// Flows from the least to the most recently used, in one list per [`Rank`]; every operation is
/// O(1).
///
/// The lists are rings through one vector: two sentinels, then one node for each slot of the table.
/// A node outside the lists points to itself.
#[derive(Debug)]
pub(crate) struct Order {
    nodes: Vec<Node>,
}

impl Order {
    pub(crate) fn new() -> Self {
        let ring = |node| Node { previous: node, next: node };
        Self { nodes: vec![ring(Rank::Empty.sentinel()), ring(Rank::Holding.sentinel())] }
    }

    /// Makes a slot the most recently used one of a list, wherever it was before.
    pub(crate) fn place(&mut self, slot: u32, rank: Rank) {
        self.remove(slot);
        let (node, sentinel) = (slot.saturating_add(FIRST), rank.sentinel());
        let last = self.node(sentinel).previous;
        self.link(last, node);
        self.link(node, sentinel);
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        let node = slot.saturating_add(FIRST);
        self.grow(node);
        let Node { previous, next } = self.node(node);
        self.link(previous, next);
        self.link(node, node);
    }

    /// The least recently used slot of a list.
    pub(crate) fn oldest(&self, rank: Rank) -> Option<u32> {
        self.node(rank.sentinel()).next.checked_sub(FIRST)
    }

    fn node(&self, node: u32) -> Node {
        self.nodes.get(node as usize).copied().unwrap_or(Node { previous: node, next: node })
    }

    fn link(&mut self, previous: u32, next: u32) {
        if let Some(node) = self.nodes.get_mut(previous as usize) {
            node.next = next;
        }
        if let Some(node) = self.nodes.get_mut(next as usize) {
            node.previous = previous;
        }
    }

    /// Slots are dense, so this adds at most one node.
    fn grow(&mut self, node: u32) {
        if node as usize == self.nodes.len() {
            self.nodes.push(Node { previous: node, next: node });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(order: &mut Order, rank: Rank) -> Vec<u32> {
        std::iter::from_fn(|| {
            let slot = order.oldest(rank)?;
            order.remove(slot);
            Some(slot)
        })
        .collect()
    }

    #[test]
    fn slots_leave_in_the_order_of_their_last_use() {
        let mut order = Order::new();
        for slot in 0..4 {
            order.place(slot, Rank::Empty);
        }
        order.place(1, Rank::Empty);
        order.remove(2);
        assert_eq!(drain(&mut order, Rank::Empty), [0, 3, 1]);
        assert_eq!(order.oldest(Rank::Empty), None);
    }

    #[test]
    fn a_slot_is_in_one_list_at_a_time() {
        let mut order = Order::new();
        for slot in 0..3 {
            order.place(slot, Rank::Holding);
        }
        order.place(0, Rank::Empty);
        assert_eq!(drain(&mut order, Rank::Holding), [1, 2]);
        assert_eq!(drain(&mut order, Rank::Empty), [0]);
    }
}
