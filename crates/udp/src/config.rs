use std::collections::BTreeMap;
use std::time::Duration;

use crate::flow::DATAGRAM_OVERHEAD;

/// The largest UDP payload (RFC 768 over IPv6); no byte limit may be smaller.
const MAX_DATAGRAM: usize = 65_527;

/// Limits and timeouts of a [`Demux`](crate::Demux).
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) mtu: u32,
    pub(crate) opening_datagrams: usize,
    pub(crate) queue_datagrams: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) max_bytes: usize,
    pub(crate) max_flows: usize,
    pub(crate) max_opening: usize,
    pub(crate) max_transmit: usize,
    pub(crate) refusal_memory: Duration,
    pub(crate) reply_refreshes: bool,
    pub(crate) fragment_replies: bool,
    pub(crate) super_datagrams: bool,
    idle_timeout: Duration,
    port_idle_timeouts: BTreeMap<u16, Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mtu: 1_500,
            opening_datagrams: 8,
            queue_datagrams: 1_024,
            queue_bytes: 1 << 20,
            max_bytes: 16 << 20,
            max_flows: 65_536,
            max_opening: 1_024,
            max_transmit: 1_024,
            refusal_memory: Duration::from_secs(1),
            reply_refreshes: true,
            fragment_replies: false,
            super_datagrams: false,
            // RFC 4787 §4.3: at least 2 minutes, 5 recommended.
            idle_timeout: Duration::from_mins(5),
            // RFC 5452 §9.2: a resolver's port should not stay open longer than its query.
            port_idle_timeouts: BTreeMap::from([(53, Duration::from_secs(10))]),
        }
    }
}

impl Config {
    /// The device's MTU in bytes; default 1,500. What becomes of a reply whose IP packet is larger
    /// says [`fragment_replies`](Self::fragment_replies).
    #[must_use]
    pub fn mtu(mut self, bytes: u32) -> Self {
        self.mtu = bytes;
        self
    }

    /// How many datagrams a flow holds until it is accepted; default 8, at least 1. The oldest go
    /// first: an app that repeats its request wants an answer to the latest.
    #[must_use]
    pub fn opening_datagrams(mut self, datagrams: usize) -> Self {
        self.opening_datagrams = datagrams.max(1);
        self
    }

    /// How many datagrams an accepted flow holds until they are read; default 1,024, at least 1.
    /// Should hold what one batch of the device can bring for one flow.
    #[must_use]
    pub fn queue_datagrams(mut self, datagrams: usize) -> Self {
        self.queue_datagrams = datagrams.max(1);
        self
    }

    /// How many bytes wait in one flow; default 1 MiB, never less than one datagram. Each datagram
    /// counts 32 bytes more than its payload.
    #[must_use]
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes.max(MAX_DATAGRAM + DATAGRAM_OVERHEAD);
        self
    }

    /// How many bytes wait in all flows together; default 16 MiB, never less than one datagram.
    /// Beyond it the least recently used flows lose their oldest datagrams.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes.max(MAX_DATAGRAM + DATAGRAM_OVERHEAD);
        self
    }

    /// How many flows there may be; default 65,536, at least 1 and at most 2²⁴. Beyond it the least
    /// recently used flow is evicted. A waiting flow costs a few hundred bytes.
    #[must_use]
    pub fn max_flows(mut self, flows: usize) -> Self {
        self.max_flows = flows.clamp(1, 1 << 24);
        self
    }

    /// How many flows may wait to be accepted or refused at a time; default 1,024, at least 1. Beyond
    /// it the first datagrams of new flows are dropped and counted, so that a scan of many ports
    /// does not become as many requests at once.
    #[must_use]
    pub fn max_opening(mut self, flows: usize) -> Self {
        self.max_opening = flows.max(1);
        self
    }

    /// Takes this demux's share of what is bounded where `demuxes` of them (one at least) serve
    /// together: of the bytes that wait, the flows, and those that wait to be accepted.
    #[must_use]
    pub fn one_of(self, demuxes: usize) -> Self {
        let demuxes = demuxes.max(1);
        let (bytes, flows) = (self.max_bytes / demuxes, self.max_flows.div_ceil(demuxes));
        let opening = self.max_opening.div_ceil(demuxes);
        self.max_bytes(bytes).max_flows(flows).max_opening(opening)
    }

    /// How many packets wait for [`poll_transmit`](crate::Demux::poll_transmit); default 1,024, at
    /// least 1. What does not fit is dropped and counted.
    #[must_use]
    pub fn max_transmit(mut self, packets: usize) -> Self {
        self.max_transmit = packets.max(1);
        self
    }

    /// How long a flow without traffic lives; default 5 minutes (RFC 4787 §4.3). Shorter saves
    /// memory here and sockets at the far side, longer keeps silent peers reachable.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Another idle timeout for flows to one destination port; default 10 s for port 53.
    #[must_use]
    pub fn port_idle_timeout(mut self, port: u16, timeout: Duration) -> Self {
        self.port_idle_timeouts.insert(port, timeout);
        self
    }

    /// Whether datagrams towards the app keep a flow alive, as those from it always do (RFC 4787
    /// §4.3); default true. False ends flows whose app has gone away silently.
    #[must_use]
    pub fn reply_refreshes(mut self, refreshes: bool) -> Self {
        self.reply_refreshes = refreshes;
        self
    }

    /// Whether replies larger than the MTU leave by [`poll_transmit`](crate::Demux::poll_transmit)
    /// all the same, for the owner to cut ([`Packet::fragments`](pseudotcp_packet::Packet::fragments));
    /// default false: they are dropped and counted. Either way a datagram arrives whole or not at
    /// all.
    #[must_use]
    pub fn fragment_replies(mut self, fragment: bool) -> Self {
        self.fragment_replies = fragment;
        self
    }

    /// Whether the device takes super-datagrams: replies of one flow and one size, written one after
    /// the other, then leave as up to 16 in one packet. Default false.
    #[must_use]
    pub fn super_datagrams(mut self, granted: bool) -> Self {
        self.super_datagrams = granted;
        self
    }

    /// How long a refusal is remembered and repeated without asking the owner again; default 1 s.
    #[must_use]
    pub fn refusal_memory(mut self, time: Duration) -> Self {
        self.refusal_memory = time;
        self
    }

    /// The idle timeout of flows to a destination port.
    pub(crate) fn idle_timeout_of(&self, port: u16) -> Duration {
        self.port_idle_timeouts.get(&port).copied().unwrap_or(self.idle_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_demuxes_have_together_what_one_has() {
        let whole = Config::default().max_bytes(9 << 20).max_flows(100).max_opening(10);
        let share = whole.one_of(3);
        assert_eq!((share.max_bytes, share.max_flows, share.max_opening), (3 << 20, 34, 4));
        assert_eq!(Config::default().one_of(0).max_flows, Config::default().max_flows);
    }
}
