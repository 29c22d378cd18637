use std::cmp::Reverse;
use std::net::IpAddr;

use ipnet::IpNet;

use super::RuleId;
use super::runs::{Number, Runs};

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

/// Stands for no block.
const NONE: u32 = u32::MAX;

/// Blocks of one IP version. Two of them are nested or disjoint, so the addresses fall into runs that
/// each have an innermost block, and every block has at most one around it.
#[derive(Clone, Debug)]
struct Nest<T> {
    runs: Runs<T, Innermost>,
    blocks: Box<[Block]>,
    rules: Box<[RuleId]>,
}

/// What the innermost block of a run leads to.
#[derive(Clone, Copy, Debug)]
enum Innermost {
    /// The run is in no block.
    Nowhere,
    /// One rule, and no block around: most often so, and then there is nothing else to look at.
    Rule(RuleId),
    /// A block, by its place.
    Block(u32),
}

/// A block of addresses: the one around it, and which part of the rules name it.
#[derive(Clone, Copy, Debug)]
struct Block {
    around: u32,
    rules: (u32, u32),
}

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
        let mut block = match self.runs.find(address) {
            None | Some(Innermost::Nowhere) => return,
            Some(Innermost::Rule(rule)) => return look(std::slice::from_ref(rule)),
            Some(Innermost::Block(block)) => *block,
        };
        while let Some(&Block { around, rules: (from, to) }) = self.blocks.get(block as usize) {
            look(self.rules.get(from as usize..to as usize).unwrap_or_default());
            block = around;
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
        let from = index(self.rules.len());
        self.rules.push(rule);
        let to = index(self.rules.len());
        if let Some((known_first, known_last, block)) = innermost
            && (known_first, known_last) == (first, last)
            && let Some(block) = self.blocks.get_mut(block as usize)
        {
            block.rules.1 = to;
            return;
        }
        let block = index(self.blocks.len());
        let around = innermost.map_or(NONE, |(_, _, around)| around);
        self.blocks.push(Block { around, rules: (from, to) });
        self.open.push((first, last, block));
        self.start_run(first, block);
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
        let runs = self.runs.iter().map(|&(first, block)| (first, self.innermost(block)));
        Nest {
            runs: Runs::new(runs.collect()),
            blocks: self.blocks.into(),
            rules: self.rules.into(),
        }
    }

    fn innermost(&self, block: u32) -> Innermost {
        match self.blocks.get(block as usize) {
            None => Innermost::Nowhere,
            Some(&Block { around: NONE, rules: (from, to) }) if to - from == 1 => {
                let rule = self.rules.get(from as usize).copied();
                rule.map_or(Innermost::Nowhere, Innermost::Rule)
            }
            Some(_) => Innermost::Block(block),
        }
    }
}

/// Memory ends before these numbers do.
fn index(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(NONE)
}
