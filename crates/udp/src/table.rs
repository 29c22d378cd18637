use std::hash::BuildHasher;
use std::time::Instant;

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashTable};
use pseudotcp_packet::FlowKey;

use crate::FlowId;
use crate::flow::Flow;
use crate::order::{Order, Rank};

/// How many slots an empty table keeps.
const KEPT_SLOTS: usize = 64;

#[derive(Debug)]
struct Entry {
    generation: u32,
    flow: Flow,
}

/// The flows: by id, by five-tuple, and in the order in which they make room for others.
///
/// It also counts the bytes that wait in all of them.
#[derive(Debug)]
pub(crate) struct Table {
    slots: Vec<Option<Entry>>,
    free: Vec<u32>,
    index: HashTable<FlowId>,
    hasher: DefaultHashBuilder,
    order: Order,
    generation: u32,
    waiting_bytes: usize,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            order: Order::new(),
            generation: 0,
            waiting_bytes: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(crate) fn get(&self, id: FlowId) -> Option<&Flow> {
        let entry = self.slots.get(id.index())?.as_ref()?;
        (entry.generation == id.generation).then_some(&entry.flow)
    }

    pub(crate) fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        let entry = self.slots.get_mut(id.index())?.as_mut()?;
        (entry.generation == id.generation).then_some(&mut entry.flow)
    }

    pub(crate) fn find(&self, key: &FlowKey) -> Option<FlowId> {
        let same = |id: &FlowId| self.get(*id).is_some_and(|flow| flow.key == *key);
        self.index.find(self.hasher.hash_one(key), same).copied()
    }

    /// Adds a flow that is not there yet.
    pub(crate) fn insert(&mut self, key: FlowKey, now: Instant) -> FlowId {
        self.generation = self.generation.wrapping_add(1);
        let id = FlowId { slot: self.take_slot(), generation: self.generation };
        if let Some(slot) = self.slots.get_mut(id.index()) {
            *slot = Some(Entry { generation: id.generation, flow: Flow::new(key, now) });
        }
        self.order.place(id.slot, Rank::Empty);
        let (slots, hasher) = (&self.slots, &self.hasher);
        let hash_of = |id: &FlowId| {
            let entry = slots.get(id.index()).and_then(Option::as_ref);
            hasher.hash_one(entry.map_or(key, |entry| entry.flow.key))
        };
        self.index.insert_unique(hasher.hash_one(key), id, hash_of);
        id
    }

    pub(crate) fn remove(&mut self, id: FlowId) -> Option<Flow> {
        let hash = self.hasher.hash_one(self.get(id)?.key);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        self.order.remove(id.slot);
        let flow = self.slots.get_mut(id.index())?.take()?.flow;
        self.waiting_bytes -= flow.waiting_bytes();
        self.give_slot_back(id.slot);
        Some(flow)
    }

    /// Makes a flow the most recently used one of its rank.
    pub(crate) fn touch(&mut self, id: FlowId) {
        let Some(flow) = self.get(id) else { return };
        let rank = if flow.waiting() == 0 { Rank::Empty } else { Rank::Holding };
        self.order.place(id.slot, rank);
    }

    /// Appends a datagram to a flow's queue.
    pub(crate) fn push(&mut self, id: FlowId, datagram: Bytes) {
        self.change_queue(id, |flow| flow.push(datagram));
    }

    /// Takes the oldest datagram from a flow's queue.
    pub(crate) fn pop(&mut self, id: FlowId) -> Option<Bytes> {
        self.change_queue(id, Flow::pop)?
    }

    /// The flow that makes room next: the least recently used one in which nothing waits, or else
    /// of those that hold datagrams.
    pub(crate) fn oldest(&self) -> Option<FlowId> {
        self.oldest_of(Rank::Empty).or_else(|| self.oldest_of(Rank::Holding))
    }

    /// The flow whose datagrams make room next.
    pub(crate) fn oldest_holding(&self) -> Option<FlowId> {
        self.oldest_of(Rank::Holding)
    }

    fn oldest_of(&self, rank: Rank) -> Option<FlowId> {
        let slot = self.order.oldest(rank)?;
        let entry = self.slots.get(slot as usize)?.as_ref()?;
        Some(FlowId { slot, generation: entry.generation })
    }

    /// Keeps the sum of waiting bytes and the flow's rank in step with its queue.
    fn change_queue<T>(&mut self, id: FlowId, change: impl FnOnce(&mut Flow) -> T) -> Option<T> {
        let flow = self.get_mut(id)?;
        let (before, was_empty) = (flow.waiting_bytes(), flow.waiting() == 0);
        let result = change(flow);
        let (after, is_empty) = (flow.waiting_bytes(), flow.waiting() == 0);
        self.waiting_bytes = self.waiting_bytes - before + after;
        if was_empty != is_empty {
            self.touch(id);
        }
        Some(result)
    }

    fn take_slot(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // The configured limit of 2²⁴ flows keeps this far below the maximum.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// A large table that has become empty gives its memory back; generations go on, so old ids
    /// stay stale.
    fn give_slot_back(&mut self, slot: u32) {
        self.free.push(slot);
        if self.index.is_empty() && self.slots.len() > KEPT_SLOTS {
            *self = Self { generation: self.generation, ..Self::new() };
        }
    }
}
