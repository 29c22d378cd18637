use std::time::Duration;

/// Limits of a [`Reassembler`](super::Reassembler).
#[derive(Clone, Debug)]
pub struct Config {
    pub(super) timeout: Duration,
    pub(super) max_bytes: usize,
    pub(super) max_packets: usize,
    pub(super) max_fragments: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // RFC 8200 §4.5: 60 s. RFC 1122 §3.3.2: between 60 and 120.
            timeout: Duration::from_mins(1),
            max_bytes: 4 << 20,
            max_packets: 1_024,
            max_fragments: 128,
        }
    }
}

impl Config {
    /// How long the fragments of a packet wait for the rest; default 60 s, counted from the first
    /// one that comes.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many bytes all fragments may cost together, what it takes to keep them included; default
    /// 4 MiB. A limit below the largest packet (64 KiB) makes large packets impossible.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// How many packets may be incomplete at a time; default 1,024, at least 1.
    #[must_use]
    pub fn max_packets(mut self, packets: usize) -> Self {
        self.max_packets = packets.max(1);
        self
    }

    /// How many fragments one packet may have; default 128, which is enough for 64 KiB over any
    /// link that carries 576 bytes. One more, and the packet is given up as for an overlap.
    #[must_use]
    pub fn max_fragments(mut self, fragments: usize) -> Self {
        self.max_fragments = fragments.max(1);
        self
    }
}
