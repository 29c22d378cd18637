use std::borrow::Cow;
use std::collections::HashMap;

use super::RuleId;
use crate::NamePattern;

/// The rules that name domains, found by name: one look for each of its labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameIndex(HashMap<Box<str>, Named>);

/// The rules that name one domain, in ascending order.
#[derive(Clone, Debug, Default)]
struct Named {
    exactly: Vec<RuleId>,
    with_all_below: Vec<RuleId>,
}

impl NameIndex {
    /// Files a rule; to be called in the order of the rules.
    pub(crate) fn add(&mut self, pattern: &NamePattern, rule: RuleId) {
        let named = self.0.entry(pattern.domain().into()).or_default();
        let rules =
            if pattern.has_all_below() { &mut named.with_all_below } else { &mut named.exactly };
        rules.push(rule);
    }

    /// Calls `look` with the rules of each domain that holds the name.
    pub(crate) fn candidates(&self, name: &str, mut look: impl FnMut(&[RuleId])) {
        if self.0.is_empty() {
            return;
        }
        let name = lower_case(name.strip_suffix('.').unwrap_or(name));
        if let Some(named) = self.0.get(&*name) {
            look(&named.exactly);
        }
        let mut domain = Some(&*name);
        while let Some(current) = domain {
            if let Some(named) = self.0.get(current) {
                look(&named.with_all_below);
            }
            domain = current.split_once('.').map(|(_, above)| above);
        }
    }
}

fn lower_case(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    }
}
