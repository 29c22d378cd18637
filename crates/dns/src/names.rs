use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use lru::LruCache;

use crate::message::Key;

/// How many addresses are remembered; what was used least recently goes first.
const MAX_ADDRESSES: usize = 16_384;

/// The names by which apps came by addresses.
#[derive(Debug)]
pub(crate) struct Names {
    by_address: LruCache<IpAddr, Arc<str>>,
}

impl Names {
    pub(crate) fn new() -> Self {
        Self { by_address: LruCache::unbounded() }
    }

    /// Remembers the name that was asked for, whatever aliases led to the addresses.
    pub(crate) fn learn(&mut self, key: &Key, answer: &Message) {
        let name = key.query.name().to_ascii();
        let name: Arc<str> = name.strip_suffix('.').unwrap_or(&name).into();
        for record in &answer.answers {
            let address = match &record.data {
                RData::A(v4) => IpAddr::V4(v4.0),
                RData::AAAA(v6) => IpAddr::V6(v6.0),
                _ => continue,
            };
            self.by_address.put(address, Arc::clone(&name));
        }
        while self.by_address.len() > MAX_ADDRESSES {
            self.by_address.pop_lru();
        }
    }

    pub(crate) fn name_of(&mut self, address: IpAddr) -> Option<Arc<str>> {
        self.by_address.get(&address).cloned()
    }
}
