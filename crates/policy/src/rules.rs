use std::ops::RangeInclusive;

use ipnet::IpNet;
use pseudotcp_packet::{FlowKey, Protocol};

use crate::ranges::RangeSet;
use crate::{CidrSet, Decision, Verdict};

/// An IP version, as a rule may ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// One rule: a verdict for the flows that it matches.
///
/// A new rule matches every flow. Each kind of condition narrows it; conditions of one kind, given
/// together or one after another, are alternatives. A kind that was given, but as an empty list,
/// matches nothing.
#[derive(Clone, Debug)]
pub struct Rule {
    verdict: Verdict,
    version: Option<IpVersion>,
    protocols: Option<Vec<Protocol>>,
    ports: Option<Vec<(u16, u16)>>,
    destinations: Option<Vec<IpNet>>,
    sources: Option<Vec<IpNet>>,
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
        let pairs = ranges.into_iter().map(RangeInclusive::into_inner);
        self.ports.get_or_insert_default().extend(pairs);
        self
    }

    /// Only flows to addresses in these blocks.
    #[must_use]
    pub fn destinations(mut self, blocks: impl IntoIterator<Item = IpNet>) -> Self {
        self.destinations.get_or_insert_default().extend(blocks);
        self
    }

    /// Only flows from addresses in these blocks.
    #[must_use]
    pub fn sources(mut self, blocks: impl IntoIterator<Item = IpNet>) -> Self {
        self.sources.get_or_insert_default().extend(blocks);
        self
    }
}

/// Ordered rules, compiled: the first one that matches a flow decides.
#[derive(Clone, Debug)]
pub struct Rules {
    compiled: Box<[Compiled]>,
    otherwise: Verdict,
}

impl Rules {
    /// Collects rules; without any, every flow is for the proxy.
    pub fn builder() -> RulesBuilder {
        RulesBuilder { rules: Vec::new(), otherwise: Verdict::Proxy }
    }

    /// The verdict for a flow whose source is the app.
    pub fn decide(&self, flow: &FlowKey) -> Decision {
        let found = self.compiled.iter().enumerate().find(|(_, rule)| rule.matches(flow));
        match found {
            Some((index, rule)) => Decision { verdict: rule.verdict, rule: Some(index) },
            None => Decision { verdict: self.otherwise, rule: None },
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::builder().build()
    }
}

/// Collects rules in the order in which they shall be tried.
#[derive(Clone, Debug)]
pub struct RulesBuilder {
    rules: Vec<Rule>,
    otherwise: Verdict,
}

impl RulesBuilder {
    /// Appends a rule.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// The verdict where no rule matches; [`Verdict::Proxy`] unless said.
    #[must_use]
    pub fn otherwise(mut self, verdict: Verdict) -> Self {
        self.otherwise = verdict;
        self
    }

    /// Compiles the rules.
    pub fn build(self) -> Rules {
        let compiled = self.rules.into_iter().map(Compiled::new).collect();
        Rules { compiled, otherwise: self.otherwise }
    }
}

/// A rule in the form in which it is tried: what costs least comes first.
#[derive(Clone, Debug)]
struct Compiled {
    verdict: Verdict,
    version: Option<IpVersion>,
    protocols: Option<Box<[Protocol]>>,
    ports: Option<RangeSet<u16>>,
    destinations: Option<CidrSet>,
    sources: Option<CidrSet>,
}

impl Compiled {
    fn new(rule: Rule) -> Self {
        Self {
            verdict: rule.verdict,
            version: rule.version,
            protocols: rule.protocols.map(Into::into),
            ports: rule.ports.map(|ports| ports.into_iter().collect()),
            destinations: rule.destinations.map(|blocks| blocks.into_iter().collect()),
            sources: rule.sources.map(|blocks| blocks.into_iter().collect()),
        }
    }

    fn matches(&self, flow: &FlowKey) -> bool {
        let (source, destination) = (flow.source(), flow.destination());
        self.version.is_none_or(|version| version == version_of(flow))
            && self.protocols.as_ref().is_none_or(|all| all.contains(&flow.protocol()))
            && self.ports.as_ref().is_none_or(|ports| ports.contains(destination.port()))
            && self.destinations.as_ref().is_none_or(|set| set.contains(destination.ip()))
            && self.sources.as_ref().is_none_or(|set| set.contains(source.ip()))
    }
}

fn version_of(flow: &FlowKey) -> IpVersion {
    if flow.is_ipv6() { IpVersion::V6 } else { IpVersion::V4 }
}
