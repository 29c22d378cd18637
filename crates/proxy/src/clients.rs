//! How much each client has, so that none takes what is there for all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What each client holds of one thing, up to a limit.
#[derive(Debug)]
pub(crate) struct Clients {
    limit: usize,
    held: Mutex<HashMap<IpAddr, usize>>,
}

/// One thing that a client holds; given back on drop.
#[derive(Debug)]
pub(crate) struct Share {
    clients: Arc<Clients>,
    client: IpAddr,
}

impl Clients {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, held: Mutex::default() })
    }

    /// One more for this client, unless it has all it may.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Share> {
        let client = network(address);
        let mut held = self.held();
        let count = held.get(&client).copied().unwrap_or(0);
        if count >= self.limit {
            return None;
        }
        held.insert(client, count + 1);
        drop(held);
        Some(Share { clients: Arc::clone(self), client })
    }

    /// Nothing panics while the lock is held.
    fn held(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.clients.held();
        match held.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(held.remove(&self.client)),
        }
    }
}

/// Who counts as one client: an IPv4 address, or the 64 bits of an IPv6 network, within which a host
/// takes addresses as it likes.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_limit() {
        let clients = Clients::new(2);
        let take = |address: &str| clients.take(address.parse().unwrap());
        let (first, _second) = (take("192.0.2.1").unwrap(), take("::ffff:192.0.2.1").unwrap());
        assert!(take("192.0.2.1").is_none());
        assert!(take("192.0.2.2").is_some());
        drop(first);
        assert!(take("192.0.2.1").is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let clients = Clients::new(1);
        let take = |address: &str| clients.take(address.parse().unwrap());
        let _one = take("2001:db8:0:1::1").unwrap();
        assert!(take("2001:db8:0:1:ffff::2").is_none());
        assert!(take("2001:db8:0:2::1").is_some());
    }

    #[test]
    fn clients_that_hold_nothing_are_forgotten() {
        let clients = Clients::new(1);
        drop(clients.take("192.0.2.1".parse().unwrap()));
        assert!(clients.held().is_empty());
    }
}
