//! Rules by what they say about addresses and names, so that few of them have to be tried.

mod blocks;
mod names;
mod runs;

pub(crate) use self::blocks::BlockIndex;
pub(crate) use self::names::NameIndex;

/// A rule's place in the order of the rules.
pub(crate) type RuleId = u32;
