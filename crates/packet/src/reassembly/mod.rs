//! Fragments in, whole packets out (RFC 791 §3.2, RFC 815, RFC 8200 §4.5).
//!
//! ```text
//!             handle_packet                            ┌─▶ a whole packet
//!   packets ───────────────▶ parts, sorted, disjoint ──┤
//!             handle_timeout                           └─▶ poll_transmit: ICMP errors
//! ```
//!
//! Fragments that overlap end the packet that they belong to (RFC 5722 §4), in both IP versions;
//! exact duplicates are passed over. Memory is bounded by bytes, packets and fragments of a packet:
//! where it ends, the packet that has waited longest is given up.

mod config;
mod partial;
mod stats;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

pub use self::config::Config;
pub use self::stats::Stats;

use self::partial::{Added, Partial};
use crate::fragment::FragmentInfo;
use crate::packet::{Packet, Transport};
use crate::quote::{ParameterProblem, Quote};
use crate::{ip, ipv6};

/// The most errors that wait for [`Reassembler::poll_transmit`]; the rest is not sent.
const MAX_ERRORS: usize = 64;

/// Where the payload length of IPv6 stands (RFC 8200 §3).
const PAYLOAD_LENGTH_AT: u32 = 4;

/// Makes whole packets of fragments.
///
/// * **Happened**: [`handle_packet`](Self::handle_packet), [`handle_timeout`](Self::handle_timeout).
/// * **Outputs**: [`poll_transmit`](Self::poll_transmit) until it returns nothing, then
///   [`poll_timeout`](Self::poll_timeout).
///
/// ```
/// use bytes::Bytes;
/// use pseudotcp_packet::build;
/// use pseudotcp_packet::reassembly::{Config, Reassembler};
/// # let now = std::time::Instant::now();
///
/// let (app, server) = ("10.0.0.1:5000".parse()?, "192.0.2.7:7".parse()?);
/// let datagram = build::datagram(app, server, Bytes::from(vec![7; 4_000]), None).unwrap();
/// let mut reassembler = Reassembler::new(Config::default());
/// let whole: Vec<_> = datagram
///     .fragments(1_500, 1)
///     .filter_map(|fragment| reassembler.handle_packet(now, fragment))
///     .collect();
/// assert_eq!(whole[0].payload_len(), 4_000);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug)]
pub struct Reassembler {
    config: Config,
    index: HashMap<Key, u64>,
    /// In the order in which they began, and so of their deadlines.
    entries: BTreeMap<u64, Entry>,
    begun: u64,
    /// What the fragments held cost in bytes.
    held: usize,
    errors: VecDeque<Packet>,
    stats: Stats,
}

/// What is equal in all fragments of one packet; in IPv4 the protocol counts (RFC 791 §3.2), in
/// IPv6 it does not (RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
    protocol: Option<u8>,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    deadline: Instant,
    /// `None` once the packet was given up for an overlap: what still comes of it is dropped.
    partial: Option<Partial>,
}

impl Reassembler {
    /// A reassembler that holds nothing.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            index: HashMap::new(),
            entries: BTreeMap::new(),
            begun: 0,
            held: 0,
            errors: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// A packet came. What is no fragment comes back as it is; a fragment is kept, and the one that
    /// completes a packet brings that packet out.
    pub fn handle_packet(&mut self, now: Instant, packet: Packet) -> Option<Packet> {
        let Transport::Fragment(info) = packet.transport() else { return Some(packet) };
        self.stats.fragments += 1;
        if let Err(problem) = check(&packet, info) {
            self.stats.malformed += 1;
            self.tell(problem.and_then(|problem| {
                Quote::of(&packet).map(|quote| quote.parameter_problem(problem))
            }));
            return None;
        }
        let number = self.entry_of(now, Key::of(&packet, info));
        let Some(Entry { partial: Some(partial), .. }) = self.entries.get_mut(&number) else {
            self.stats.overlapping += 1;
            return None;
        };
        let before = partial.cost();
        let added = partial.add(info, packet, self.config.max_fragments);
        self.held = self.held - before + partial.cost();
        match added {
            Added::Kept => self.make_room(),
            Added::Duplicate => self.stats.duplicates += 1,
            Added::Overlapping => self.abandon(number),
            Added::Complete => return self.complete(number),
        }
        None
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come: packets that are not
    /// complete are given up. Too early a call is harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((&number, entry)) = self.entries.first_key_value()
            && entry.deadline <= now
        {
            let Some(partial) = self.remove(number) else { continue };
            self.stats.expired += 1;
            // RFC 1122 §3.3.2, RFC 8200 §4.5: only where the first fragment has come.
            self.tell(
                partial.first().and_then(Quote::of).map(|quote| quote.reassembly_timed_out()),
            );
        }
    }

    /// The next ICMP error for a sender. How many may leave is for the caller to limit.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Packet> {
        self.errors.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; `None` when nothing is
    /// held.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.entries.first_key_value().map(|(_, entry)| entry.deadline)
    }

    /// What the fragments held cost in bytes, never more than [`Config::max_bytes`].
    pub fn held(&self) -> usize {
        self.held
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The packet that a fragment belongs to; a new one where need be.
    fn entry_of(&mut self, now: Instant, key: Key) -> u64 {
        if let Some(number) = self.index.get(&key) {
            return *number;
        }
        while self.entries.len() >= self.config.max_packets {
            self.evict_oldest();
        }
        let number = self.begun;
        self.begun += 1;
        let deadline = now + self.config.timeout;
        self.entries.insert(number, Entry { key, deadline, partial: Some(Partial::default()) });
        self.index.insert(key, number);
        number
    }

    fn complete(&mut self, number: u64) -> Option<Packet> {
        let whole = self.remove(number)?.join();
        match whole {
            Some(_) => self.stats.reassembled += 1,
            None => self.stats.malformed += 1,
        }
        whole
    }

    // RFC 5722 §4: all fragments of the packet are discarded, and those not received yet, silently.
    fn abandon(&mut self, number: u64) {
        self.stats.overlapping += 1;
        let partial = self.entries.get_mut(&number).and_then(|entry| entry.partial.take());
        self.held -= partial.map_or(0, |partial| partial.cost());
    }

    fn make_room(&mut self) {
        while self.held > self.config.max_bytes && !self.entries.is_empty() {
            self.evict_oldest();
        }
    }

    fn evict_oldest(&mut self) {
        if let Some((&oldest, _)) = self.entries.first_key_value()
            && self.remove(oldest).is_some()
        {
            self.stats.evicted += 1;
        }
    }

    /// Forgets a packet; what it held, unless it was given up before.
    fn remove(&mut self, number: u64) -> Option<Partial> {
        let entry = self.entries.remove(&number)?;
        self.index.remove(&entry.key);
        self.held -= entry.partial.as_ref().map_or(0, Partial::cost);
        entry.partial
    }

    fn tell(&mut self, error: Option<Packet>) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.extend(error);
        }
    }
}

impl Key {
    fn of(packet: &Packet, info: FragmentInfo) -> Self {
        let ip = packet.ip();
        let protocol = match ip.version() {
            ip::Version::V4 => Some(ip.protocol().number()),
            ip::Version::V6 => None,
        };
        let (source, destination) = (ip.source(), ip.destination());
        Self { source, destination, identification: info.identification, protocol }
    }
}

/// Whether a fragment can be part of a packet; if not, what an IPv6 sender is to be told.
fn check(packet: &Packet, info: FragmentInfo) -> Result<(), Option<ParameterProblem>> {
    let len = packet.payload_len();
    let is_ipv6 = packet.ip().version() == ip::Version::V6;
    if len == 0 || !partial::fits(packet, info) {
        return Err(None);
    }
    // RFC 8200 §4.5: all but the last are multiples of eight octets long.
    if info.more && !len.is_multiple_of(8) {
        return Err(is_ipv6.then_some(ParameterProblem::Field { at: PAYLOAD_LENGTH_AT }));
    }
    // RFC 7112 §5: the first fragment has all headers, the upper layer's included.
    if is_ipv6 && info.is_first() && !has_all_headers(packet) {
        return Err(Some(ParameterProblem::HeaderChain));
    }
    Ok(())
}

/// Whether a first fragment of IPv6 holds its headers up to the upper layer's.
fn has_all_headers(packet: &Packet) -> bool {
    let mut octets = ipv6::without_fragment_header(packet.head(), packet.payload_len());
    packet.body().iter().for_each(|slice| octets.extend_from_slice(slice));
    ipv6::walk(&octets).is_ok_and(|walk| {
        let upper_layer = match walk.protocol {
            6 => crate::tcp::HEADER_LEN,
            17 | 58 => 8,
            _ => 0,
        };
        octets.len() - walk.header_len >= upper_layer
    })
}
