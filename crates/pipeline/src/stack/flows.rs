//! Which flows have something to do: wakers that queue a flow once, and wake the stack once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use crossbeam_queue::SegQueue;
use futures::task::{ArcWake, AtomicWaker};

/// A flow of either protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A flow of the TCP engine.
    Tcp(pseudotcp_tcp::FlowId),
    /// A flow of the UDP demux.
    Udp(pseudotcp_udp::FlowId),
}

/// The flows that have something to do, in the order in which they said so.
///
/// Bounded by the number of flows: each is queued at most once.
#[derive(Debug, Default)]
pub(super) struct ReadyList {
    queue: SegQueue<Arc<FlowWaker>>,
    task: AtomicWaker,
}

impl ReadyList {
    /// Sets who is woken when a flow becomes ready.
    pub(super) fn register(&self, task: &Waker) {
        self.task.register(task);
    }

    /// Takes the next ready flow, which may be queued again from now on.
    pub(super) fn pop(&self) -> Option<Token> {
        let flow = self.queue.pop()?;
        flow.queued.store(false, Ordering::Release);
        Some(flow.token)
    }

    /// Whether no flow waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// One flow's place in the [`ReadyList`], and the waker that its tunnel is given.
#[derive(Debug)]
pub(super) struct FlowWaker {
    token: Token,
    queued: AtomicBool,
    list: Arc<ReadyList>,
}

impl FlowWaker {
    /// A waker for `token` that queues on `list`.
    pub(super) fn new(token: Token, list: &Arc<ReadyList>) -> Arc<Self> {
        Arc::new(Self { token, queued: AtomicBool::new(false), list: Arc::clone(list) })
    }

    /// Queues the flow, unless it is queued already; true if it was not. Wakes nobody: for callers
    /// that are about to work through the list themselves.
    pub(super) fn schedule(self: &Arc<Self>) -> bool {
        let fresh = !self.queued.swap(true, Ordering::AcqRel);
        if fresh {
            self.list.queue.push(Arc::clone(self));
        }
        fresh
    }
}

impl ArcWake for FlowWaker {
    fn wake_by_ref(flow: &Arc<Self>) {
        if flow.schedule() {
            flow.list.task.wake();
        }
    }
}

/// Flows for which a table keeps room in any case.
const FEW: usize = 1_024;

/// Gives room back that a crowd has left in a table of flows: at most an eighth of it may be in use,
/// so that what moving costs is spread over the flows that have ended.
pub(super) fn shrink<K: Eq + Hash, V>(flows: &mut HashMap<K, V>) {
    if flows.capacity() > FEW && flows.len() < flows.capacity() / 8 {
        flows.shrink_to(flows.len() * 2);
    }
}
