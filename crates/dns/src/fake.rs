//! Addresses that stand for names, so that a flow to one can be opened by name elsewhere.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use lru::LruCache;

/// 198.18.0.0/15, for tests of devices (RFC 2544): nobody else uses it.
const V4: u32 = Ipv4Addr::new(198, 18, 0, 0).to_bits();
const V4_PREFIX: u8 = 15;

/// A unique local prefix with a random global id (RFC 4193 §3.2), a /96.
const V6: u128 = Ipv6Addr::new(0xfd6b, 0x9c3e, 0x51d7, 0, 0, 0, 0, 0).to_bits();
const V6_PREFIX: u8 = 96;

/// The first address is the network's own.
const FIRST: u32 = 1;

/// How many of the names that were used least recently are looked at for one that may go.
const EVICTION_SCAN: usize = 1_024;

/// The TTL in seconds of answers with fake addresses.
pub(crate) const TTL: u32 = 60;

/// The same, as long as an answer may be in somebody's cache.
const LIFETIME: Duration = Duration::from_secs(TTL as u64);

/// The networks of the pool.
pub fn networks() -> impl Iterator<Item = IpNet> {
    let v4 = IpNet::new(Ipv4Addr::from_bits(V4).into(), V4_PREFIX);
    let v6 = IpNet::new(Ipv6Addr::from_bits(V6).into(), V6_PREFIX);
    [v4, v6].into_iter().flatten()
}

/// A pool of addresses, IPv4 and IPv6, lent to names.
///
/// A name keeps its addresses as long as an answer with them may be in somebody's cache, and as long
/// as a flow holds their [`Lease`]; beyond that, until the pool is full and it is the one that was
/// used least recently.
#[derive(Debug)]
pub struct FakePool {
    names: LruCache<Arc<str>, Mapping>,
    by_number: HashMap<u32, Arc<str>>,
    capacity: u32,
}

#[derive(Debug)]
struct Mapping {
    number: u32,
    /// Until then answers with the addresses may be cached.
    cached_until: Instant,
    lease: Lease,
}

/// Keeps a name's addresses its own.
#[derive(Clone, Debug, Default)]
pub struct Lease(Arc<()>);

impl Lease {
    fn is_held(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl FakePool {
    /// A pool for that many names at once, 131,000 at the most.
    pub fn new(capacity: u32) -> Self {
        let room = (1 << (u32::BITS - u32::from(V4_PREFIX))) - 2 * FIRST;
        let capacity = capacity.clamp(1, room);
        Self { names: LruCache::unbounded(), by_number: HashMap::new(), capacity }
    }

    /// The addresses of a name, new ones if it has none; nothing where all of the pool are in use.
    pub fn assign(&mut self, now: Instant, name: &str) -> Option<(Ipv4Addr, Ipv6Addr)> {
        let cached_until = now + LIFETIME;
        if let Some(mapping) = self.names.get_mut(name) {
            mapping.cached_until = cached_until;
            return Some(addresses(mapping.number));
        }
        let number = self.free_number(now)?;
        self.put(name, number, cached_until);
        Some(addresses(number))
    }

    /// Whether an address is of the pool, whether or not it stands for a name now.
    pub fn contains(address: IpAddr) -> bool {
        number(address).is_some()
    }

    /// The name that an address stands for.
    pub fn name_of(&self, address: IpAddr) -> Option<Arc<str>> {
        self.by_number.get(&number(address)?).cloned()
    }

    /// The name that an address stands for, for a flow that keeps it so.
    pub fn lease(&mut self, address: IpAddr) -> Option<(Arc<str>, Lease)> {
        let name = self.name_of(address)?;
        let lease = self.names.get(&name)?.lease.clone();
        Some((name, lease))
    }

    /// How many names have addresses.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether no name has.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Reads what [`Display`](fmt::Display) wrote in an earlier life; what makes no sense is skipped.
    pub fn restore(&mut self, now: Instant, text: &str) {
        for line in text.lines().take(self.capacity as usize) {
            let parts = line.split_once(' ').map(|(number, name)| (number.parse::<u32>(), name));
            if let Some((Ok(number), name)) = parts
                && number < self.capacity
                && is_host_name(name)
                && !self.by_number.contains_key(&number)
                && !self.names.contains(name)
            {
                // What was answered in that life may still be cached.
                self.put(name, number, now + LIFETIME);
            }
        }
    }

    fn put(&mut self, name: &str, number: u32, cached_until: Instant) {
        let name: Arc<str> = name.into();
        self.by_number.insert(number, Arc::clone(&name));
        self.names.put(name, Mapping { number, cached_until, lease: Lease::default() });
    }

    fn free_number(&mut self, now: Instant) -> Option<u32> {
        let used = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        if used < self.capacity {
            // Usually the next one; a restored pool may have gaps behind and names ahead.
            return (used..self.capacity).chain(0..used).find(|n| !self.by_number.contains_key(n));
        }
        for _ in 0..EVICTION_SCAN {
            let (name, mapping) = self.names.pop_lru()?;
            if !mapping.lease.is_held() && mapping.cached_until <= now {
                self.by_number.remove(&mapping.number);
                return Some(mapping.number);
            }
            // In use, though nobody has asked for it for a while.
            self.names.put(name, mapping);
        }
        None
    }
}

/// A line for each name, the one used least recently first, for [`FakePool::restore`].
impl fmt::Display for FakePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.names.iter().rev().try_for_each(|(name, m)| writeln!(f, "{} {name}", m.number))
    }
}

/// Whether a name in lower case, without its final dot, can be a host's.
pub(crate) fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
    };
    name.len() <= 253 && name.contains('.') && name.split('.').all(is_label)
}

fn addresses(number: u32) -> (Ipv4Addr, Ipv6Addr) {
    let host = number + FIRST;
    (Ipv4Addr::from_bits(V4 | host), Ipv6Addr::from_bits(V6 | u128::from(host)))
}

/// The number of an address of the pool. That of the network itself is no name's.
fn number(address: IpAddr) -> Option<u32> {
    let host = match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits() ^ V4),
        IpAddr::V6(v6) => v6.to_bits() ^ V6,
    };
    let is_ours = networks().any(|network| network.contains(&address));
    u32::try_from(host).ok().filter(|_| is_ours).map(|host| host.wrapping_sub(FIRST))
}
