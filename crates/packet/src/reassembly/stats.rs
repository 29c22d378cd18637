/// Counters since the reassembler was made. All of them only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Fragments that came.
    pub fragments: u64,
    /// Packets made of them.
    pub reassembled: u64,
    /// Packets given up because fragments were missing for too long.
    pub expired: u64,
    /// Packets given up to make room for newer ones.
    pub evicted: u64,
    /// Fragments dropped because they overlap others, are too many, or come after such ones.
    pub overlapping: u64,
    /// Fragments that were there already.
    pub duplicates: u64,
    /// Fragments that can be part of no packet, and whole packets that turned out to be none.
    pub malformed: u64,
}
