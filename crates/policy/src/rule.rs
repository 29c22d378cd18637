use std::ops::RangeInclusive;

use ipnet::IpNet;
use pseudotcp_packet::Protocol;

use crate::{IpVersion, NamePattern, Verdict};

/// One rule: a verdict for the flows that it matches.
///
/// A new rule matches every flow. Each kind of condition narrows it; conditions of one kind, given
/// together or one after another, are alternatives. Blocks and names are one kind, the destination.
/// A kind that was given, but as an empty list, matches nothing.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(crate) verdict: Verdict,
    pub(crate) version: Option<IpVersion>,
    pub(crate) protocols: Option<Vec<Protocol>>,
    pub(crate) ports: Option<Vec<(u16, u16)>>,
    pub(crate) destinations: Option<Destinations>,
    pub(crate) sources: Option<Vec<IpNet>>,
    pub(crate) users: Option<Vec<(u32, u32)>>,
    pub(crate) marks: Option<Vec<(u32, u32)>>,
}

/// Where flows go, by address or by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Destinations {
    pub(crate) blocks: Vec<IpNet>,
    pub(crate) names: Vec<NamePattern>,
}

impl Rule {
    /// A rule for every flow.
    pub fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            version: None,
            protocols: None,
            ports: None,
            destinations: None,
            sources: None,
            users: None,
            marks: None,
        }
    }

    /// Only flows of one IP version.
    #[must_use]
    pub fn version(mut self, version: IpVersion) -> Self {
        self.version = Some(version);
        self
    }

    /// Only flows of this protocol, or of one named by another call.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocols.get_or_insert_default().push(protocol);
        self
    }

    /// Only flows to these destination ports.
    #[must_use]
    pub fn ports(mut self, ranges: impl IntoIterator<Item = RangeInclusive<u16>>) -> Self {
        extend(&mut self.ports, ranges);
        self
    }

    /// Only flows to addresses in these blocks, or to a name given by [`names`](Self::names).
    #[must_use]
    pub fn destinations(mut self, blocks: impl IntoIterator<Item = IpNet>) -> Self {
        self.destinations.get_or_insert_default().blocks.extend(blocks);
        self
    }

    /// Only flows to these names, or to an address given by [`destinations`](Self::destinations).
    #[must_use]
    pub fn names(mut self, names: impl IntoIterator<Item = NamePattern>) -> Self {
        self.destinations.get_or_insert_default().names.extend(names);
        self
    }

    /// Only flows from addresses in these blocks.
    #[must_use]
    pub fn sources(mut self, blocks: impl IntoIterator<Item = IpNet>) -> Self {
        self.sources.get_or_insert_default().extend(blocks);
        self
    }

    /// Only flows of processes of these users, by number.
    #[must_use]
    pub fn users(mut self, ranges: impl IntoIterator<Item = RangeInclusive<u32>>) -> Self {
        extend(&mut self.users, ranges);
        self
    }

    /// Only flows of sockets with these marks.
    #[must_use]
    pub fn marks(mut self, ranges: impl IntoIterator<Item = RangeInclusive<u32>>) -> Self {
        extend(&mut self.marks, ranges);
        self
    }

    /// What becomes of the flows that match.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }
}

fn extend<T>(known: &mut Option<Vec<(T, T)>>, ranges: impl IntoIterator<Item = RangeInclusive<T>>) {
    known.get_or_insert_default().extend(ranges.into_iter().map(RangeInclusive::into_inner));
}
