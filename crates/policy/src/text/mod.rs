//! Rules as people write them: TOML, read with the place of every mistake.
//!
//! ```toml
//! otherwise = "proxy"                       # where no rule matches; this is the default
//! quic = "auto"                             # "allow" (default), "block" or "auto"
//! ipv6 = "auto"                             # "auto" (default), "on" or "off"
//!
//! [sets]                                    # names of one's own for addresses
//! office = ["203.0.113.0/24", "2001:db8:aa::/48"]
//!
//! [[rule]]                                  # the first rule that matches decides
//! to = ["office", ".intra.example"]         # blocks, addresses, sets, names
//! verdict = "direct"                        # "proxy", "direct", "reject" or "drop"
//!
//! [[rule]]
//! from = "10.99.99.0/24"
//! to = "private"
//! protocol = ["tcp", "udp"]                 # "tcp", "udp" or "icmp"
//! port = ["dns-over-tls", 22, "8000-8999"]  # numbers, ranges, sets
//! ip = 4                                    # 4 or 6
//! user = "1000-1999"                        # numbers of users
//! mark = 0x100                              # SO_MARK of the app's socket
//! verdict = "reject"
//! answer = "host-unreachable"               # "closed" (default) or an ICMP error
//! ```
//!
//! ```
//! let error = pseudotcp_policy::text::parse("[[rule]]\nprt = 80\nverdict = 'drop'").unwrap_err();
//! let message = "2:1: unknown key \"prt\"; did you mean \"port\"?";
//! assert_eq!(error.to_string(), message);
//! ```

mod error;
mod hint;
mod value;

use std::collections::BTreeMap;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use self::error::{TextError, TextErrors};

use self::error::Findings;
use self::hint::closest;
use self::value::{ANSWERS, IPV6, PROTOCOLS, Place, QUIC, VERDICTS};
use crate::sets::BlockSet;
use crate::{Ipv6, Quic, RejectKind, Rule, Verdict};

const KEYS: [&str; 5] = ["otherwise", "quic", "ipv6", "sets", "rule"];
const RULE_KEYS: [&str; 9] =
    ["to", "from", "port", "protocol", "ip", "user", "mark", "verdict", "answer"];

/// How much of a rule's text is kept, in characters.
const MAX_TEXT: usize = 160;

/// What a text says; what it leaves open is for its reader to choose.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Sheet {
    /// The rules, in their order.
    pub rules: Vec<Entry>,
    /// The verdict where no rule matches.
    pub otherwise: Option<Verdict>,
    /// What becomes of QUIC.
    pub quic: Option<Quic>,
    /// What becomes of IPv6.
    pub ipv6: Option<Ipv6>,
}

/// A rule of a text, and where it stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The rule.
    pub rule: Rule,
    /// The line of its heading, counted from 1.
    pub line: usize,
    /// Its keys and values in one line, at the most 160 characters.
    pub text: String,
}

/// Reads a text.
///
/// # Errors
///
/// Everything that is wrong with the text, each with its place; a text that is no TOML has one error.
pub fn parse(text: &str) -> Result<Sheet, TextErrors> {
    let mut findings = Findings::new(text);
    let sheet = match DeTable::parse(text) {
        Ok(table) => Reader::new(table.get_ref(), &mut findings).read(),
        Err(error) => {
            findings.note(&error.span().unwrap_or(0..0), error.message());
            Sheet::default()
        }
    };
    findings.finish(sheet)
}

type Value<'t> = Spanned<DeValue<'t>>;

struct Reader<'r, 't> {
    table: &'r DeTable<'t>,
    findings: &'r mut Findings<'t>,
    sets: BTreeMap<&'r str, Vec<IpNet>>,
}

impl<'r, 't> Reader<'r, 't> {
    fn new(table: &'r DeTable<'t>, findings: &'r mut Findings<'t>) -> Self {
        Self { table, findings, sets: BTreeMap::new() }
    }

    fn read(mut self) -> Sheet {
        self.check_keys(self.table, &KEYS);
        let table = self.table;
        if let Some(sets) = table.get("sets") {
            self.read_sets(sets);
        }
        Sheet {
            otherwise: self.word("otherwise", VERDICTS),
            quic: self.word("quic", QUIC),
            ipv6: self.word("ipv6", IPV6),
            rules: table.get("rule").map(|rules| self.read_rules(rules)).unwrap_or_default(),
        }
    }

    fn word<T: Copy>(&mut self, key: &str, words: value::Words<T>) -> Option<T> {
        let value = self.table.get(key)?;
        value::word(value, words, self.findings)
    }

    fn check_keys(&mut self, table: &DeTable<'_>, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let hint = closest(key.get_ref(), known.iter().copied());
            self.findings.note(&key.span(), format!("unknown key \"{}\"{hint}", key.get_ref()));
        }
    }

    fn read_sets(&mut self, sets: &'r Value<'t>) {
        let DeValue::Table(table) = sets.get_ref() else {
            self.findings.note(&sets.span(), "the sets must be a table: [sets]");
            return;
        };
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if BlockSet::named(name).is_some() || name.contains(['.', '/', ':']) {
                let message = format!("\"{name}\" is taken, or looks like an address or a name");
                self.findings.note(&key.span(), message);
            }
            let values = value::each(value, self.findings);
            let blocks = values.into_iter().filter_map(|value| value::block(value, self.findings));
            let blocks = blocks.collect();
            self.sets.insert(name, blocks);
        }
    }

    fn read_rules(&mut self, rules: &Value<'t>) -> Vec<Entry> {
        let DeValue::Array(array) = rules.get_ref() else {
            self.findings.note(&rules.span(), "every rule needs double brackets: [[rule]]");
            return Vec::new();
        };
        array.iter().filter_map(|value| self.read_entry(value)).collect()
    }

    fn read_entry(&mut self, value: &Value<'t>) -> Option<Entry> {
        let DeValue::Table(table) = value.get_ref() else {
            self.findings.note(&value.span(), "a rule must be a table: [[rule]]");
            return None;
        };
        self.check_keys(table, &RULE_KEYS);
        let rule = self.read_rule(table, value);
        let line = self.findings.line(&value.span());
        Some(Entry { rule, line, text: self.in_one_line(table) })
    }

    fn read_rule(&mut self, table: &DeTable<'t>, whole: &Value<'t>) -> Rule {
        // Without a verdict the text is wrong, but the rest of the rule shall be checked, too.
        let mut rule = Rule::new(self.read_verdict(table, whole).unwrap_or(Verdict::Drop));
        if let Some(value) = table.get("ip") {
            rule = value::version(value, self.findings).into_iter().fold(rule, Rule::version);
        }
        for value in self.values(table, "protocol") {
            let protocols = value::word(value, PROTOCOLS, self.findings).unwrap_or_default();
            rule = protocols.iter().copied().fold(rule, Rule::protocol);
        }
        for value in self.values(table, "port") {
            rule = rule.ports(value::ports(value, self.findings));
        }
        for value in self.values(table, "user") {
            rule = rule.users(value::range(value, "number of a user", self.findings));
        }
        for value in self.values(table, "mark") {
            rule = rule.marks(value::range(value, "mark", self.findings));
        }
        rule = self.read_destinations(table, rule);
        self.read_sources(table, rule)
    }

    fn read_verdict(&mut self, table: &DeTable<'t>, whole: &Value<'t>) -> Option<Verdict> {
        let Some(value) = table.get("verdict") else {
            self.findings.note(&whole.span(), "the rule has no verdict");
            return None;
        };
        let verdict = value::word(value, VERDICTS, self.findings)?;
        let Some(answer) = table.get("answer") else { return Some(verdict) };
        if verdict != Verdict::Reject(RejectKind::Closed) {
            self.findings.note(&answer.span(), "only what is rejected gets an answer");
        }
        value::word(answer, ANSWERS, self.findings).map(Verdict::Reject)
    }

    fn read_destinations(&mut self, table: &DeTable<'t>, mut rule: Rule) -> Rule {
        for value in self.values(table, "to") {
            match self.place(value) {
                Some(Place::Blocks(blocks)) => rule = rule.destinations(blocks),
                Some(Place::Name(name)) => rule = rule.names([name]),
                None => {}
            }
        }
        rule
    }

    fn read_sources(&mut self, table: &DeTable<'t>, mut rule: Rule) -> Rule {
        for value in self.values(table, "from") {
            match self.place(value) {
                Some(Place::Blocks(blocks)) => rule = rule.sources(blocks),
                Some(Place::Name(name)) => {
                    let message = format!("\"{name}\" is a name; apps are told by address only");
                    self.findings.note(&value.span(), message);
                }
                None => {}
            }
        }
        rule
    }

    fn place(&mut self, value: &Value<'_>) -> Option<Place> {
        let named = |name: &str| self.sets.get(name).map(Vec::as_slice);
        value::place(value, named, self.sets.keys().copied(), self.findings)
    }

    /// The values of a key that may have many.
    fn values<'v>(&mut self, table: &'v DeTable<'t>, key: &str) -> Vec<&'v Value<'t>> {
        table.get(key).map(|value| value::each(value, self.findings)).unwrap_or_default()
    }

    fn in_one_line(&self, table: &DeTable<'_>) -> String {
        let mut pairs: Vec<_> =
            table.iter().map(|(key, value)| (key.span(), value.span())).collect();
        pairs.sort_by_key(|(key, _)| key.start);
        let pair = |(key, value): &(_, _)| {
            format!("{} = {}", self.findings.quote(key), self.findings.quote(value))
        };
        let pairs: Vec<_> = pairs.iter().map(pair).collect();
        let words = pairs.join(", ");
        let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.chars().count() <= MAX_TEXT {
            return line;
        }
        line.chars().take(MAX_TEXT - 1).chain(['…']).collect()
    }
}
