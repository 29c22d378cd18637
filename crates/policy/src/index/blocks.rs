use std::cmp::Reverse;
use std::net::IpAddr;

use ipnet::IpNet;

use super::RuleId;
use super::stairs::Stairs;

/// The rules that name address blocks, found by address: the innermost block that holds it, and from
/// there outwards.
#[derive(Clone, Debug)]
pub(crate) struct BlockIndex {
    v4: Nest<u32>,
    v6: Nest<u128>,
}

impl BlockIndex {
    /// From blocks and the rules that name them, in any order.
    pub(crate) fn new(named: &[(IpNet, RuleId)]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for &(block, rule) in named {
            match block {
                IpNet::V4(net) => {
                    v4.push((net.network().to_bits(), net.broadcast().to_bits(), rule));
                }
                IpNet::V6(net) => {
                    v6.push((net.network().to_bits(), net.broadcast().to_bits(), rule));
                }
            }
        }
        Self { v4: Nest::new(v4), v6: Nest::new(v6) }
    }

    /// Calls `look` with the rules of each block that holds the address, in ascending order for each
    /// block.
    pub(crate) fn candidates(&self, address: IpAddr, look: impl FnMut(&[RuleId])) {
        match address {
            IpAddr::V4(v4) => self.v4.visit(v4.to_bits(), look),
            IpAddr::V6(v6) => self.v6.visit(v6.to_bits(), look),
        }
    }
}

/// Stands for no node.
const NONE: u32 = u32::MAX;

/// Blocks of one IP version. Two of them are nested or disjoint, so the addresses fall into runs that
/// each have an innermost block, and every block has at most one around it.
///
/// A look misses the cache where it must and no more: each run has a copy of its innermost block, and
/// each block its first rule, which is seldom followed by another.
#[derive(Clone, Debug)]
struct Nest<T> {
    /// The first addresses of the runs.
    runs: Stairs<T>,
    /// The innermost block of each run.
    innermost: Box<[Block]>,
    blocks: Box<[Block]>,
    rules: Box<[RuleId]>,
}

/// A block of addresses: the one around it, the first rule that names it, and which part of the rules
/// are the others.
#[derive(Clone, Copy, Debug)]
struct Block {
    around: u32,
    first: RuleId,
    others: (u32, u32),
}

/// Stands for the block of a run that is in none: no rule has this number.
const NOWHERE: Block = Block { around: NONE, first: RuleId::MAX, others: (0, 0) };

impl<T: Number> Nest<T> {
    fn new(mut named: Vec<(T, T, RuleId)>) -> Self {
        named.sort_unstable_by_key(|&(first, last, rule)| (first, Reverse(last), rule));
        named.dedup();
        let mut builder = Builder::default();
        for (first, last, rule) in named {
            builder.add(first, last, rule);
        }
        builder.finish()
    }

    fn visit(&self, address: T, mut look: impl FnMut(&[RuleId])) {
        let mut block = self.runs.floor(address).and_then(|run| self.innermost.get(run));
        while let Some(Block { around, first, others: (from, to) }) = block {
            look(std::slice::from_ref(first));
            if from < to {
                look(self.rules.get(*from as usize..*to as usize).unwrap_or_default());
            }
            block = self.blocks.get(*around as usize);
        }
    }
}

/// Walks through blocks from low to high addresses, and from the outside in.
struct Builder<T> {
    runs: Vec<(T, u32)>,
    blocks: Vec<Block>,
    rules: Vec<RuleId>,
    /// The blocks that hold the current address, the innermost last: their bounds and index.
    open: Vec<(T, T, u32)>,
}

impl<T> Default for Builder<T> {
    fn default() -> Self {
        Self { runs: Vec::new(), blocks: Vec::new(), rules: Vec::new(), open: Vec::new() }
    }
}

impl<T: Number> Builder<T> {
    fn add(&mut self, first: T, last: T, rule: RuleId) {
        self.close_before(Some(first));
        let innermost = self.open.last().copied();
        if let Some((known_first, known_last, block)) = innermost
            && (known_first, known_last) == (first, last)
        {
            return self.add_rule(block, rule);
        }
        let (block, end) = (index(self.blocks.len()), index(self.rules.len()));
        let around = innermost.map_or(NONE, |(_, _, around)| around);
        self.blocks.push(Block { around, first: rule, others: (end, end) });
        self.open.push((first, last, block));
        self.start_run(first, block);
    }

    /// Adds one more rule to the block that was opened last.
    fn add_rule(&mut self, block: u32, rule: RuleId) {
        self.rules.push(rule);
        if let Some(block) = self.blocks.get_mut(block as usize) {
            block.others.1 = index(self.rules.len());
        }
    }

    /// Closes the blocks that end before an address, or all of them.
    fn close_before(&mut self, address: Option<T>) {
        while let Some(&(_, last, _)) = self.open.last()
            && address.is_none_or(|address| last < address)
        {
            self.open.pop();
            if let Some(next) = last.next() {
                let innermost = self.open.last().map_or(NONE, |&(_, _, block)| block);
                self.start_run(next, innermost);
            }
        }
    }

    /// A run that starts where the last one did takes its place.
    fn start_run(&mut self, first: T, block: u32) {
        self.runs.pop_if(|(last, _)| *last == first);
        self.runs.push((first, block));
    }

    fn finish(mut self) -> Nest<T> {
        self.close_before(None);
        let block = |block: u32| self.blocks.get(block as usize).copied().unwrap_or(NOWHERE);
        let innermost = self.runs.iter().map(|(_, innermost)| block(*innermost)).collect();
        Nest {
            runs: Stairs::new(self.runs.into_iter().map(|(first, _)| first).collect()),
            innermost,
            blocks: self.blocks.into(),
            rules: self.rules.into(),
        }
    }
}

/// Memory ends before these numbers do.
fn index(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(NONE)
}

/// An address as a number.
trait Number: Ord + Copy {
    /// The address behind this one.
    fn next(self) -> Option<Self>;
}

impl Number for u32 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Number for u128 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}
