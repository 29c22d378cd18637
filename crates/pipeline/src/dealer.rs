use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

use pseudotcp_packet::FlowKey;

/// Through which queue of a device the packets of each [bucket](FlowKey::bucket) of flows come, where that
/// can be told to it: the numbers of the queues.
pub type Steering = Box<dyn AsRef<[AtomicU8]> + Send + Sync>;

/// Deals flows out to shards, and knows whose they are.
///
/// A flow is dealt out when its first packet comes: to the shard that has the fewest. Any but the first
/// that has none counts as if it had one, so that it may sleep while there is next to nothing to do.
/// While any flow of a [bucket](FlowKey::bucket) is claimed, further ones go to the same shard. What
/// nobody claims is the first shard's.
pub struct Dealer {
    /// For each bucket, how many claims there are, and in the lowest byte whose they are.
    buckets: Box<[AtomicU32]>,
    /// How many claims each shard has.
    loads: Box<[AtomicUsize]>,
    steering: Option<Steering>,
}

/// While it is there, its flow stays with its owner. See [`Dealer`].
#[must_use]
pub struct Claim {
    dealer: Arc<Dealer>,
    bucket: usize,
}

/// One claim, in a bucket's number.
const ONE: u32 = 1 << u8::BITS;

impl Dealer {
    /// For so many shards, one at least, of which none owns anything yet. The device is told by `steering`
    /// who owns what, so that packets need not change hands.
    pub fn new(shards: u8, steering: Option<Steering>) -> Arc<Self> {
        Arc::new(Self {
            buckets: (0..FlowKey::BUCKETS).map(|_| AtomicU32::new(0)).collect(),
            loads: (0..shards.max(1)).map(|_| AtomicUsize::new(0)).collect(),
            steering,
        })
    }

    /// How many shards there are.
    pub fn shards(&self) -> u8 {
        u8::try_from(self.loads.len()).unwrap_or(u8::MAX)
    }

    /// Whose the flow is, by its number.
    pub fn owner(&self, flow: &FlowKey) -> usize {
        self.owner_of(flow.bucket())
    }

    /// Deals the flow out, unless its bucket is, and keeps it there.
    pub fn claim(self: &Arc<Self>, flow: &FlowKey) -> Claim {
        let bucket = flow.bucket();
        if let Some(state) = self.buckets.get(bucket) {
            let claimed = |state| match state {
                0..ONE => Some(ONE | self.least_loaded()),
                _ => Some(state + ONE),
            };
            let before = state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, claimed);
            if before.is_ok_and(|before| before < ONE) {
                self.steer(bucket);
            }
        }
        self.count(bucket, |load| load.fetch_add(1, Ordering::Relaxed));
        Claim { dealer: Arc::clone(self), bucket }
    }

    fn release(&self, bucket: usize) {
        self.count(bucket, |load| load.fetch_sub(1, Ordering::Relaxed));
        let Some(state) = self.buckets.get(bucket) else { return };
        let released = |state| Some(if state < 2 * ONE { 0 } else { state - ONE });
        let before = state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, released);
        if before.is_ok_and(|before| before < 2 * ONE) {
            self.steer(bucket);
        }
    }

    /// The shard that shall have the next flow.
    fn least_loaded(&self) -> u32 {
        let cost = |(shard, load): (u32, &AtomicUsize)| {
            let load = load.load(Ordering::Relaxed);
            (if shard > 0 { load.max(1) } else { load }, shard)
        };
        (0..).zip(&self.loads).map(cost).min().map_or(0, |(_, shard)| shard)
    }

    fn owner_of(&self, bucket: usize) -> usize {
        self.buckets.get(bucket).map_or(0, |state| owner(state.load(Ordering::Acquire)).into())
    }

    fn count(&self, bucket: usize, change: impl FnOnce(&AtomicUsize) -> usize) {
        self.loads.get(self.owner_of(bucket)).map(change);
    }

    /// Tells the device who owns the bucket; also where that changes meanwhile.
    fn steer(&self, bucket: usize) {
        let queues = self.steering.as_ref().map(|steering| (**steering).as_ref());
        let queue = queues.and_then(|queues| queues.get(bucket));
        let (Some(queue), Some(state)) = (queue, self.buckets.get(bucket)) else { return };
        loop {
            let told = owner(state.load(Ordering::SeqCst));
            queue.store(told, Ordering::SeqCst);
            if owner(state.load(Ordering::SeqCst)) == told {
                return;
            }
        }
    }
}

/// The owner, in a bucket's number.
const fn owner(state: u32) -> u8 {
    state.to_le_bytes()[0]
}

impl Claim {
    /// Whose the flow is, by its number.
    pub fn owner(&self) -> usize {
        self.dealer.owner_of(self.bucket)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.dealer.release(self.bucket);
    }
}

impl fmt::Debug for Dealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dealer").field("loads", &self.loads).finish_non_exhaustive()
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}
