use pseudotcp_packet::Protocol;

use crate::index::{BlockIndex, NameIndex, RuleId};
use crate::ranges::RangeSet;
use crate::{CidrSet, Decision, IpVersion, Question, Rule, Verdict};

/// Ordered rules, compiled: the first one that matches a flow decides.
#[derive(Clone, Debug)]
pub struct Rules {
    compiled: Box<[Compiled]>,
    otherwise: Verdict,
    by_destination: BlockIndex,
    by_name: NameIndex,
    by_source: BlockIndex,
    /// Rules that name neither addresses nor names.
    anywhere: Box<[RuleId]>,
    ask_owner: bool,
}

impl Rules {
    /// Collects rules; without any, every flow is for the proxy.
    pub fn builder() -> RulesBuilder {
        RulesBuilder { rules: Vec::new(), otherwise: Verdict::Proxy }
    }

    /// The verdict for a flow.
    pub fn decide<'a>(&self, question: impl Into<Question<'a>>) -> Decision {
        match self.first_match(&question.into()) {
            Some((rule, verdict)) => Decision { verdict, rule: Some(rule), limit: None },
            None => Decision { verdict: self.otherwise, rule: None, limit: None },
        }
    }

    /// Whether any rule asks for the owner of a flow; if not, nobody needs to find it out.
    pub fn ask_owner(&self) -> bool {
        self.ask_owner
    }

    /// Each index gives candidates in ascending order, so that the first one to match ends the look
    /// at its list, and the earliest match so far bounds the look at all others.
    fn first_match(&self, question: &Question<'_>) -> Option<(usize, Verdict)> {
        let mut earliest: Option<(RuleId, Verdict)> = None;
        let mut look = |candidates: &[RuleId]| {
            let bound = earliest.map_or(RuleId::MAX, |(rule, _)| rule);
            let earlier = candidates.iter().take_while(|rule| **rule < bound);
            let found = earlier.copied().find_map(|rule| {
                let compiled = self.compiled.get(rule as usize)?;
                compiled.matches(question).then_some((rule, compiled.verdict))
            });
            earliest = found.or(earliest);
        };
        look(&self.anywhere);
        if let Some(destination) = question.destination {
            self.by_destination.candidates(destination, &mut look);
        }
        if let Some(name) = question.name {
            self.by_name.candidates(name, &mut look);
        }
        if let Some(source) = question.source {
            self.by_source.candidates(source, &mut look);
        }
        earliest.map(|(rule, verdict)| (rule as usize, verdict))
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

    /// Compiles the rules: O(n log n) in the number of blocks.
    pub fn build(self) -> Rules {
        let ask_owner = self.rules.iter().any(|rule| rule.users.is_some() || rule.marks.is_some());
        let mut files = Files::default();
        let compiled =
            self.rules.into_iter().zip(0..).map(|(rule, id)| files.file(rule, id)).collect();
        Rules {
            compiled,
            otherwise: self.otherwise,
            by_destination: BlockIndex::new(&files.by_destination),
            by_name: files.by_name,
            by_source: BlockIndex::new(&files.by_source),
            anywhere: files.anywhere.into(),
            ask_owner,
        }
    }
}

/// Every rule is filed by its destination, or else by its source, or else under "anywhere".
#[derive(Default)]
struct Files {
    by_destination: Vec<(ipnet::IpNet, RuleId)>,
    by_name: NameIndex,
    by_source: Vec<(ipnet::IpNet, RuleId)>,
    anywhere: Vec<RuleId>,
}

impl Files {
    /// Files a rule; what the file does not prove of a candidate is left to be asked.
    fn file(&mut self, rule: Rule, id: RuleId) -> Compiled {
        let mut sources = rule.sources;
        if let Some(destinations) = rule.destinations {
            self.by_destination.extend(destinations.blocks.iter().map(|block| (*block, id)));
            destinations.names.iter().for_each(|name| self.by_name.add(name, id));
        } else if let Some(blocks) = sources.take() {
            self.by_source.extend(blocks.iter().map(|block| (*block, id)));
        } else {
            self.anywhere.push(id);
        }
        let conditions = Conditions {
            version: rule.version,
            protocols: rule.protocols.map(Into::into),
            ports: rule.ports.map(|ports| ports.into_iter().collect()),
            sources: sources.map(|blocks| blocks.into_iter().collect()),
            users: rule.users.map(|users| users.into_iter().collect()),
            marks: rule.marks.map(|marks| marks.into_iter().collect()),
        };
        let conditions = (!conditions.is_empty()).then(|| Box::new(conditions));
        Compiled { verdict: rule.verdict, conditions }
    }
}

/// A rule, without what its file has proved already. It is small, so that many fit the cache.
#[derive(Clone, Debug)]
struct Compiled {
    verdict: Verdict,
    conditions: Option<Box<Conditions>>,
}

/// What is left to ask of a rule that was found by its file.
#[derive(Clone, Debug)]
struct Conditions {
    version: Option<IpVersion>,
    protocols: Option<Box<[Protocol]>>,
    ports: Option<RangeSet<u16>>,
    sources: Option<CidrSet>,
    users: Option<RangeSet<u32>>,
    marks: Option<RangeSet<u32>>,
}

impl Compiled {
    fn matches(&self, question: &Question<'_>) -> bool {
        self.conditions.as_ref().is_none_or(|conditions| conditions.hold(question))
    }
}

impl Conditions {
    fn is_empty(&self) -> bool {
        let Self { version, protocols, ports, sources, users, marks } = self;
        version.is_none()
            && protocols.is_none()
            && ports.is_none()
            && sources.is_none()
            && users.is_none()
            && marks.is_none()
    }

    /// What costs least is asked first.
    fn hold(&self, question: &Question<'_>) -> bool {
        self.version.is_none_or(|version| question.version == Some(version))
            && self.protocols.as_ref().is_none_or(|all| all.contains(&question.protocol))
            && holds(self.ports.as_ref(), question.port)
            && holds(self.users.as_ref(), question.owner.uid)
            && holds(self.marks.as_ref(), question.owner.mark)
            && self
                .sources
                .as_ref()
                .is_none_or(|set| question.source.is_some_and(|source| set.contains(source)))
    }
}

/// Whether a condition, where there is one, holds; of what is unknown none does.
fn holds<T: Ord + Copy>(condition: Option<&RangeSet<T>>, value: Option<T>) -> bool {
    condition.is_none_or(|set| value.is_some_and(|value| set.contains(value)))
}
