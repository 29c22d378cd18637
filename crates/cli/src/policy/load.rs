//! From options and a file to a policy, with the place of every rule.

use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use pseudotcp_policy::text::{self, Sheet, TextErrors};
use pseudotcp_policy::{IpNet, Policy, Rule, Rules, RulesBuilder, Verdict, defaults};

use super::PolicyArgs;
use crate::failure::usage;
use crate::output::plural;

/// The port of plain DNS.
const DNS_PORT: u16 = 53;

/// A policy, and where its rules stand.
pub(crate) struct Loaded {
    pub(crate) policy: Policy,
    /// The place of each rule, in their order.
    pub(crate) places: Vec<Place>,
    /// Some flow may be sent past the proxy.
    pub(crate) sends_past_the_proxy: bool,
}

/// Where a rule stands.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In a file.
    File { path: PathBuf, line: usize, text: String },
    /// On the command line.
    Option(String),
}

impl Place {
    /// Whether the rule stands in a file.
    pub(crate) fn is_in_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, text } => write!(f, "{}:{line}: {text}", path.display()),
            Self::Option(option) => f.write_str(option),
        }
    }
}

/// What the policy has to know about DNS.
#[derive(Clone, Debug)]
pub(crate) struct DnsPlan {
    /// Apps' questions are answered here.
    pub(crate) is_intercepted: bool,
    /// The addresses at which this machine asks, whatever a rule says about their networks.
    pub(crate) servers: Vec<IpAddr>,
}

impl Default for DnsPlan {
    fn default() -> Self {
        Self { is_intercepted: true, servers: Vec::new() }
    }
}

impl PolicyArgs {
    /// Makes the policy: first the options, then the file, then what holds by default.
    pub(crate) fn load(&self, dns: &DnsPlan) -> Result<Loaded> {
        let sheet = self.file.as_deref().map(read).transpose()?.unwrap_or_default();
        let quic = self.quic.map(Into::into).or(sheet.quic).unwrap_or_default();
        let ipv6 = self.ipv6.map(Into::into).or(sheet.ipv6).unwrap_or_default();
        let otherwise = sheet.otherwise.unwrap_or(Verdict::Proxy);
        let file = self.file.clone().unwrap_or_default();
        let written = sheet.rules.into_iter().map(|entry| {
            let place = Place::File { path: file.clone(), line: entry.line, text: entry.text };
            (place, entry.rule)
        });
        let rules = own_dns(dns).into_iter().chain(self.options()).chain(written);
        let (places, rules): (Vec<_>, Vec<_>) = rules.chain(self.last(dns)).unzip();
        let past = |verdict: Verdict| verdict == Verdict::Direct;
        let sends_past_the_proxy = past(otherwise) || rules.iter().any(|rule| past(rule.verdict()));
        let rules = rules.into_iter().fold(Rules::builder(), RulesBuilder::rule);
        let policy = Policy::new(rules.otherwise(otherwise).build()).quic(quic).ipv6(ipv6);
        Ok(Loaded { policy, places, sends_past_the_proxy })
    }

    /// The options that are short for rules.
    fn options(&self) -> Vec<(Place, Rule)> {
        let direct = self.direct.iter().map(|network| {
            let rule = Rule::new(Verdict::Direct).destinations([*network]);
            (Place::Option(format!("--direct {network}")), rule)
        });
        let private = self
            .reject_private
            .then(|| (Place::Option("--reject-private".to_owned()), defaults::reject_private()));
        direct.chain(private).collect()
    }

    /// What holds where no other rule does.
    fn last(&self, dns: &DnsPlan) -> Option<(Place, Rule)> {
        let place = Place::Option("the default without --allow-dns-over-tls".to_owned());
        let is_wanted = dns.is_intercepted && !self.allow_dns_over_tls;
        is_wanted.then(|| (place, defaults::reject_dns_over_tls()))
    }
}

/// The way to the addresses at which this machine asks.
fn own_dns(dns: &DnsPlan) -> Option<(Place, Rule)> {
    let place = Place::Option("the DNS of this machine".to_owned());
    let to = dns.servers.iter().map(|ip| IpNet::from(*ip));
    let rule = || Rule::new(Verdict::Proxy).destinations(to).ports([DNS_PORT..=DNS_PORT]);
    (!dns.servers.is_empty()).then(|| (place, rule()))
}

/// Reads a file of rules.
pub(crate) fn read(path: &Path) -> Result<Sheet> {
    let text = fs::read_to_string(path);
    let text = text.with_context(|| format!("reading the policy {}", path.display()))?;
    text::parse(&text).map_err(|errors| usage(mistakes(path, &errors)))
}

/// All mistakes of a file, a line each.
fn mistakes(path: &Path, errors: &TextErrors) -> String {
    let lines: Vec<_> = errors.iter().map(|error| format!("{}:{error}", path.display())).collect();
    let count = plural(lines.len(), "mistake", "mistakes");
    format!("{count} in the policy\n{}", lines.join("\n"))
}
