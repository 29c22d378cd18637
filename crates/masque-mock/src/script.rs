use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pseudotcp_masque::{MAX_CHUNK, OpenError, TunnelError};

/// What a source sends, over and over.
static ZEROS: [u8; MAX_CHUNK] = [0; MAX_CHUNK];

/// What a target does: how it answers an open, what it sends, and how its flows end.
///
/// Begin with a role ([`echo`](Self::echo), [`source`](Self::source), …) and change what differs.
#[derive(Clone)]
pub struct Script {
    pub(crate) opening: Opening,
    pub(crate) latency: Duration,
    /// Whether the target reads what we send; else it stalls.
    pub(crate) reads: bool,
    pub(crate) sends: Sends,
    pub(crate) end: End,
    /// The target breaks the flow once it has received this many bytes, or datagrams.
    pub(crate) break_after: Option<u64>,
    pub(crate) breakage: Breakage,
    pub(crate) capacity: usize,
    pub(crate) max_datagram_size: usize,
}

/// How an open is answered.
#[derive(Clone)]
pub(crate) enum Opening {
    Accept,
    Fail(Arc<dyn Fn() -> OpenError + Send + Sync>),
    Silence,
}

/// What a target sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sends {
    Nothing,
    /// What it receives.
    Echo,
    /// Clones of one block, up to `total` bytes; before our end or only after it.
    Block {
        block: Bytes,
        total: u64,
        after_our_end: bool,
    },
}

/// What a target does when it has sent everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Ends its direction at once.
    AtOnce,
    /// Ends its direction after ours.
    AfterUs,
    /// Breaks the flow.
    Break,
    /// Stays silent.
    Never,
}

/// Makes the error that a broken flow ends with.
pub(crate) type Breakage = Arc<dyn Fn() -> TunnelError + Send + Sync>;

impl Script {
    /// Sends back what it receives, and ends after our end.
    pub fn echo() -> Self {
        Self {
            opening: Opening::Accept,
            latency: Duration::ZERO,
            reads: true,
            sends: Sends::Echo,
            end: End::AfterUs,
            break_after: None,
            breakage: Arc::new(|| TunnelError::Reset),
            capacity: 256 * 1024,
            max_datagram_size: 65_507,
        }
    }

    /// Sends `total` zero bytes as fast as they are taken, then ends; reads and discards. Chunks are
    /// clones of one block of 64 KiB; datagrams carry 1,200 bytes.
    pub fn source(total: u64) -> Self {
        Self::send(Bytes::from_static(&ZEROS), total, false, End::AtOnce)
    }

    /// Reads everything, sends nothing, and ends after our end.
    pub fn discard() -> Self {
        Self { sends: Sends::Nothing, ..Self::echo() }
    }

    /// Reads to our end, then sends `reply` and ends.
    pub fn reply_at_end(reply: Bytes) -> Self {
        let total = reply.len() as u64;
        Self::send(reply, total, true, End::AfterUs)
    }

    /// Sends `greeting` and ends at once, but reads on to our end.
    pub fn end_first(greeting: Bytes) -> Self {
        let total = greeting.len() as u64;
        Self::send(greeting, total, false, End::AtOnce)
    }

    /// Neither reads nor sends.
    pub fn stall() -> Self {
        Self { reads: false, end: End::Never, ..Self::discard() }
    }

    /// Answers every open with an error.
    pub fn fail(cause: impl Fn() -> OpenError + Send + Sync + 'static) -> Self {
        Self { opening: Opening::Fail(Arc::new(cause)), ..Self::echo() }
    }

    /// Never answers an open.
    pub fn silent() -> Self {
        Self { opening: Opening::Silence, ..Self::echo() }
    }

    /// Answers opens after `latency` of tokio's time.
    #[must_use]
    pub fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Breaks the flow once the target has received `count` bytes (of a UDP flow: datagrams).
    #[must_use]
    pub fn with_break_after(mut self, count: u64) -> Self {
        self.break_after = Some(count);
        self
    }

    /// Breaks the flow, instead of ending it, when the target has sent everything.
    #[must_use]
    pub fn with_break_at_end(mut self) -> Self {
        self.end = End::Break;
        self
    }

    /// Names the error of a broken flow. Default: [`TunnelError::Reset`].
    #[must_use]
    pub fn with_breakage(
        mut self,
        error: impl Fn() -> TunnelError + Send + Sync + 'static,
    ) -> Self {
        self.breakage = Arc::new(error);
        self
    }

    /// How many bytes an echo holds before it stops reading. Default: 256 KiB.
    #[must_use]
    pub fn with_capacity(mut self, bytes: usize) -> Self {
        self.capacity = bytes;
        self
    }

    /// The size in bytes of a source's chunks, at most its block. Default: 64 KiB.
    #[must_use]
    pub fn with_chunk_size(mut self, bytes: usize) -> Self {
        if let Sends::Block { block, .. } = &mut self.sends {
            block.truncate(bytes.max(1));
        }
        self
    }

    /// The largest datagram that tunnels carry. Default: 65,507 bytes.
    #[must_use]
    pub fn with_max_datagram_size(mut self, bytes: usize) -> Self {
        self.max_datagram_size = bytes;
        self
    }

    /// Whether an open needs no wait.
    pub(crate) fn opens_at_once(&self) -> bool {
        self.latency == Duration::ZERO && !matches!(self.opening, Opening::Silence)
    }

    fn send(block: Bytes, total: u64, after_our_end: bool, end: End) -> Self {
        Self { sends: Sends::Block { block, total, after_our_end }, end, ..Self::echo() }
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opening = match self.opening {
            Opening::Accept => "accept",
            Opening::Fail(_) => "fail",
            Opening::Silence => "silence",
        };
        f.debug_struct("Script")
            .field("opening", &opening)
            .field("latency", &self.latency)
            .field("reads", &self.reads)
            .field("end", &self.end)
            .field("break_after", &self.break_after)
            .finish_non_exhaustive()
    }
}
