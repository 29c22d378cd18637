use hashbrown::HashTable;
use pseudotcp_packet::FlowKey;

use crate::FlowId;
use crate::flow::Flow;
use crate::isn::KeyedHash;

/// The flows, by slot and by five-tuple.
///
/// A flow lives in a box of its own, so that the memory of a burst is given back after it.
#[derive(Debug)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hash: KeyedHash,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    flow: Option<Box<Flow>>,
}

impl Table {
    pub(crate) fn new(hash: KeyedHash) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), index: HashTable::new(), hash }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The slot of the flow that segments of this five-tuple belong to.
    pub(crate) fn find(&self, key: &FlowKey) -> Option<u32> {
        let same = |&slot: &u32| peek(&self.slots, slot).is_some_and(|flow| flow.key() == key);
        self.index.find(self.hash.hash(key), same).copied()
    }

    /// The slot of a flow that still lives.
    pub(crate) fn resolve(&self, id: FlowId) -> Option<u32> {
        let slot = self.slots.get(id.slot() as usize)?;
        (slot.generation == id.generation() && slot.flow.is_some()).then_some(id.slot())
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Flow> {
        peek(&self.slots, slot)
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Flow> {
        self.slots.get_mut(slot as usize)?.flow.as_deref_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Flow> {
        self.slots.iter().filter_map(|slot| slot.flow.as_deref())
    }

    /// Makes a flow and returns its slot; `None` when slots have run out.
    pub(crate) fn insert(&mut self, make: impl FnOnce(FlowId) -> Flow) -> Option<u32> {
        let slot = self.free.pop().or_else(|| {
            self.slots.push(Slot { generation: 0, flow: None });
            u32::try_from(self.slots.len() - 1).ok()
        })?;
        let place = self.slots.get_mut(slot as usize)?;
        let flow = Box::new(make(FlowId::new(slot, place.generation)));
        let hash = self.hash.hash(flow.key());
        place.flow = Some(flow);
        let (slots, hasher) = (&self.slots, &self.hash);
        self.index.insert_unique(hash, slot, |&slot| {
            peek(slots, slot).map_or(0, |flow| hasher.hash(flow.key()))
        });
        Some(slot)
    }

    /// Segments of its five-tuple no longer belong to the flow in `slot`.
    pub(crate) fn unlink(&mut self, slot: u32) {
        let Some(flow) = peek(&self.slots, slot) else { return };
        if let Ok(found) = self.index.find_entry(self.hash.hash(flow.key()), |&at| at == slot) {
            found.remove();
        }
    }

    /// Takes an unlinked flow out; its id is dead.
    pub(crate) fn remove(&mut self, slot: u32) {
        if let Some(place) = self.slots.get_mut(slot as usize)
            && place.flow.take().is_some()
        {
            place.generation = place.generation.wrapping_add(1);
            self.free.push(slot);
        }
    }
}

fn peek(slots: &[Slot], slot: u32) -> Option<&Flow> {
    slots.get(slot as usize)?.flow.as_deref()
}
