use std::time::Duration;

use pseudotcp_packet::{FlowKey, Unreachable};

use crate::FlowId;

/// What the engine reports; drained by [`Engine::poll_event`](crate::Engine::poll_event).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An app wants a connection: its SYN is held until [`accept`](crate::Engine::accept) or
    /// [`refuse`](crate::Engine::refuse). Raised again, with the same id, by the first SYN after
    /// the pause of a [`Refusal::Later`].
    Opening {
        /// The new flow.
        id: FlowId,
        /// Its five-tuple; the source is the app.
        flow: FlowKey,
    },
    /// Bytes of the app wait. Raised once until [`read`](crate::Engine::read) has emptied the
    /// buffer, and then again with the next byte.
    Readable {
        /// The flow.
        id: FlowId,
    },
    /// There is room again after [`write_credit`](crate::Engine::write_credit) said 0.
    Writable {
        /// The flow.
        id: FlowId,
    },
    /// The app sent FIN: end of stream after what `read` still returns. The other direction goes
    /// on (half-close).
    Finished {
        /// The flow.
        id: FlowId,
    },
    /// The deadline for opening has passed: refuse the flow finally.
    Expired {
        /// The flow.
        id: FlowId,
    },
    /// The flow is over and its id dead. Raised exactly once for every id, as its last event.
    Closed {
        /// The flow.
        id: FlowId,
        /// Why it ended.
        cause: CloseCause,
    },
}

/// Why a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseCause {
    /// Both directions ended with FIN, and all was delivered.
    Clean,
    /// The app reset the connection.
    Reset,
    /// The app gave the attempt up before it was answered.
    Cancelled,
    /// [`refuse`](crate::Engine::refuse) ended it.
    Refused,
    /// The app fell silent: no answer to retransmissions, or nothing for the idle timeout.
    TimedOut,
    /// [`reset`](crate::Engine::reset) ended it.
    Aborted,
    /// It made room for another flow.
    Evicted,
}

/// How a held SYN is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// RST: `ECONNREFUSED`.
    Reset,
    /// An ICMP error that quotes the held SYN; RST where none may be sent.
    Unreachable(Unreachable),
    /// No answer for now: the app's SYNs are absorbed, and the first one at or after this pause
    /// raises [`Event::Opening`] again. The id lives on.
    Later {
        /// How long to stay silent.
        after: Duration,
    },
}
