use pseudotcp_packet::{FlowKey, Unreachable};

/// Names one flow for as long as it lives; a stale id names nothing and is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId {
    pub(crate) slot: u32,
    /// Tells the flow from earlier and later ones in the same slot.
    pub(crate) generation: u32,
}

impl FlowId {
    /// The flow's slot. Slots are dense from 0 and reused, so that an owner can keep what belongs
    /// to its flows in a `Vec`; check the whole id before trusting what lies there.
    pub fn index(self) -> usize {
        self.slot as usize
    }
}

/// What the demux tells its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An app has sent to a new destination. Answer with [`accept`](crate::Demux::accept) or
    /// [`refuse`](crate::Demux::refuse).
    Opening {
        /// The new flow.
        id: FlowId,
        /// Its five-tuple; the source is the app.
        flow: FlowKey,
    },
    /// Datagrams wait in a flow that had none: call [`read`](crate::Demux::read) until it returns
    /// nothing.
    Readable {
        /// The flow.
        id: FlowId,
    },
    /// The flow is over, and its id dead: refused, closed, expired or evicted. Comes exactly once
    /// for every [`Opening`](Self::Opening).
    Closed {
        /// The flow.
        id: FlowId,
    },
}

/// How the demux answers a flow that could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// An ICMP error that quotes the app's latest datagram.
    Unreachable(Unreachable),
    /// Silence.
    Drop,
}
