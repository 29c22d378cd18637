use std::hash::{BuildHasher, DefaultHasher, Hasher};

use pseudotcp_packet::{FlowKey, SeqNumber};

use crate::clock::Time;

/// A keyed hash of five-tuples: no one outside can aim at a bucket, or guess a sequence number.
///
/// `SipHash` that has absorbed 16 secret bytes, and one that tells the uses apart.
#[derive(Clone, Debug)]
pub(crate) struct KeyedHash {
    seeded: DefaultHasher,
}

impl KeyedHash {
    pub(crate) fn new(secret: [u8; 16], purpose: Purpose) -> Self {
        let mut seeded = DefaultHasher::new();
        seeded.write(&secret);
        seeded.write_u8(purpose as u8);
        Self { seeded }
    }

    pub(crate) fn hash(&self, key: &FlowKey) -> u64 {
        self.hash_one(key)
    }
}

impl BuildHasher for KeyedHash {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        self.seeded.clone()
    }
}

/// What a hash is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Table,
    SequenceNumber,
}

/// Initial sequence numbers and timestamp offsets.
#[derive(Debug)]
pub(crate) struct IsnGenerator {
    hash: KeyedHash,
}

impl IsnGenerator {
    pub(crate) fn new(secret: [u8; 16]) -> Self {
        Self { hash: KeyedHash::new(secret, Purpose::SequenceNumber) }
    }

    /// RFC 6528 §3: ISN = M + F(connection, secret), where M ticks every 4 microseconds.
    pub(crate) fn isn(&self, key: &FlowKey, now: Time) -> SeqNumber {
        let (hash, _) = halves(self.hash.hash(key));
        let (ticks, _) = halves(now.micros() / 4);
        SeqNumber::new(hash).advance(ticks)
    }

    /// RFC 7323 §5.4: each connection's timestamps start at a number of their own.
    pub(crate) fn timestamp_offset(&self, key: &FlowKey) -> u32 {
        halves(self.hash.hash(key)).1
    }
}

/// The low and the high half.
fn halves(value: u64) -> (u32, u32) {
    let low = |value: u64| u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default();
    (low(value), low(value >> 32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pseudotcp_packet::Protocol;
    use std::time::Duration;

    fn key(port: u16) -> FlowKey {
        FlowKey::new(Protocol::Tcp, ([10, 0, 0, 1], port).into(), ([192, 0, 2, 1], 80).into())
    }

    #[test]
    fn d17_numbers_differ_by_flow_and_secret_and_grow_with_time() {
        let (one, two) = (IsnGenerator::new([1; 16]), IsnGenerator::new([2; 16]));
        let isn = one.isn(&key(1), Time::EPOCH);
        assert_ne!(isn, SeqNumber::new(0));
        assert_ne!(isn, one.isn(&key(2), Time::EPOCH));
        assert_ne!(isn, two.isn(&key(1), Time::EPOCH));
        assert_eq!(
            one.isn(&key(1), Time::EPOCH + Duration::from_secs(4)).offset_from(isn),
            1_000_000
        );
    }

    #[test]
    fn timestamps_of_each_flow_start_elsewhere() {
        let (one, two) = (IsnGenerator::new([1; 16]), IsnGenerator::new([2; 16]));
        let offset = one.timestamp_offset(&key(1));
        assert_ne!(offset, one.timestamp_offset(&key(2)));
        assert_ne!(offset, two.timestamp_offset(&key(1)));
    }

    #[test]
    fn the_table_and_the_numbers_use_unrelated_hashes() {
        let table = KeyedHash::new([1; 16], Purpose::Table);
        let isn = KeyedHash::new([1; 16], Purpose::SequenceNumber);
        assert_ne!(table.hash(&key(1)), isn.hash(&key(1)));
    }
}
