use bytes::BytesMut;
use pseudotcp_packet::Packet;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The seed of this run: that of the environment variable `PSEUDOTCP_SEED`, or a random one. It
/// is printed, so that a failing run can be repeated.
///
/// # Panics
///
/// Where the variable is not a number: a run must not silently use another seed.
pub fn seed() -> u64 {
    let seed = std::env::var("PSEUDOTCP_SEED").map_or_else(
        |_| rand::random(),
        |text| text.parse().expect("PSEUDOTCP_SEED is not a number"),
    );
    println!("PSEUDOTCP_SEED={seed}");
    seed
}

/// Seeded chance.
#[derive(Debug)]
pub(crate) struct Dice(StdRng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Whether something of this probability happens.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.0.random_bool(probability.min(1.0))
    }

    /// A number from zero to one.
    pub(crate) fn fraction(&mut self) -> f64 {
        self.0.random()
    }

    /// The packet with one bit turned over, unless a receiver would notice and drop it: checksums
    /// see a single bit wherever they look.
    pub(crate) fn corrupted(&mut self, packet: &Packet) -> Option<Packet> {
        let mut octets = BytesMut::from(packet.to_bytes());
        let at = self.0.random_range(0..octets.len());
        octets[at] ^= 1 << self.0.random_range(0..8);
        Packet::parse(octets.freeze()).ok()
    }
}
