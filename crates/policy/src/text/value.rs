//! The values of a rule's keys.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use pseudotcp_packet::{Protocol, Unreachable};
use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::error::Findings;
use super::hint::closest;
use crate::sets::{BlockSet, PortSet};
use crate::{IpVersion, Ipv6, NamePattern, Quic, RejectKind, Verdict};

type Value<'t> = Spanned<DeValue<'t>>;

/// Words, and what they stand for.
pub(super) type Words<T> = &'static [(&'static str, T)];

pub(super) const VERDICTS: Words<Verdict> = &[
    ("proxy", Verdict::Proxy),
    ("direct", Verdict::Direct),
    ("reject", Verdict::Reject(RejectKind::Closed)),
    ("drop", Verdict::Drop),
];

pub(super) const ANSWERS: Words<RejectKind> = &[
    ("closed", RejectKind::Closed),
    ("net-unreachable", RejectKind::Unreachable(Unreachable::Network)),
    ("host-unreachable", RejectKind::Unreachable(Unreachable::Host)),
    ("port-unreachable", RejectKind::Unreachable(Unreachable::Port)),
    ("host-prohibited", RejectKind::Unreachable(Unreachable::HostProhibited)),
    ("prohibited", RejectKind::Unreachable(Unreachable::Prohibited)),
];

/// ICMP is one word for both of its versions.
pub(super) const PROTOCOLS: Words<&[Protocol]> = &[
    ("tcp", &[Protocol::Tcp]),
    ("udp", &[Protocol::Udp]),
    ("icmp", &[Protocol::Icmp, Protocol::Icmpv6]),
];

pub(super) const QUIC: Words<Quic> =
    &[("allow", Quic::Allow), ("block", Quic::Block), ("auto", Quic::Auto)];

pub(super) const IPV6: Words<Ipv6> = &[("auto", Ipv6::Auto), ("on", Ipv6::On), ("off", Ipv6::Off)];

/// The words, as a person would list them.
fn list<T>(words: Words<T>) -> String {
    let quoted: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// What a word of `words` stands for.
pub(super) fn word<T: Copy>(
    value: &Value<'_>,
    words: Words<T>,
    findings: &mut Findings<'_>,
) -> Option<T> {
    let known = |text: &str| words.iter().find(|(word, _)| *word == text).map(|(_, it)| *it);
    let found = string(value).and_then(known);
    if found.is_none() {
        let quote = findings.quote(&value.span());
        findings.note(&value.span(), format!("{quote} is none of {}", list(words)));
    }
    found
}

/// The elements of a list, or the one value that stands without brackets.
pub(super) fn each<'v, 't>(
    value: &'v Value<'t>,
    findings: &mut Findings<'_>,
) -> Vec<&'v Value<'t>> {
    match value.get_ref() {
        DeValue::Array(array) => {
            if array.is_empty() {
                findings.note(&value.span(), "an empty list would match nothing");
            }
            array.iter().collect()
        }
        _ => vec![value],
    }
}

pub(super) fn version(value: &Value<'_>, findings: &mut Findings<'_>) -> Option<IpVersion> {
    let version = match integer(value) {
        Some(4) => Some(IpVersion::V4),
        Some(6) => Some(IpVersion::V6),
        _ => None,
    };
    if version.is_none() {
        let quote = findings.quote(&value.span());
        findings.note(&value.span(), format!("{quote} is no IP version, which is 4 or 6"));
    }
    version
}

/// Ports by number, range or the name of a set.
pub(super) fn ports(value: &Value<'_>, findings: &mut Findings<'_>) -> Vec<RangeInclusive<u16>> {
    let Some(set) = string(value).filter(|text| text.starts_with(|c: char| c.is_alphabetic()))
    else {
        return range(value, "port", findings).into_iter().collect();
    };
    if let Some(set) = PortSet::named(set) {
        return set.ports().collect();
    }
    let hint = closest(set, PortSet::ALL.map(PortSet::name));
    findings.note(&value.span(), format!("no set of ports is called \"{set}\"{hint}"));
    Vec::new()
}

/// A number, or two with a hyphen between them.
pub(super) fn range<T: TryFrom<u64> + Ord + Copy>(
    value: &Value<'_>,
    what: &str,
    findings: &mut Findings<'_>,
) -> Option<RangeInclusive<T>> {
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| digits).and_then(|number| T::try_from(number).ok())
    };
    let bounds = match (integer(value), string(value)) {
        (Some(single), _) => T::try_from(single).ok().map(|single| (single, single)),
        (_, Some(text)) => {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            number(first.trim()).zip(number(last.trim()))
        }
        _ => None,
    };
    let range = bounds.filter(|(first, last)| first <= last).map(|(first, last)| first..=last);
    if range.is_none() {
        let quote = findings.quote(&value.span());
        let message = match bounds {
            Some(_) => format!("{quote} ends before it starts"),
            None => format!("{quote} is no {what}, nor a range of them like \"1000-1999\""),
        };
        findings.note(&value.span(), message);
    }
    range
}

/// One entry of `to` or `from`.
pub(super) enum Place {
    Blocks(Vec<IpNet>),
    Name(NamePattern),
}

/// Addresses by block or by the name of a set, or a domain name. `sets` are those of the text.
pub(super) fn place<'s>(
    value: &Value<'_>,
    sets: impl Fn(&str) -> Option<&'s [IpNet]>,
    own_names: impl Iterator<Item = &'s str>,
    findings: &mut Findings<'_>,
) -> Option<Place> {
    let Some(text) = string(value) else {
        let quote = findings.quote(&value.span());
        findings.note(&value.span(), format!("{quote} is neither addresses nor a name"));
        return None;
    };
    if let Some(blocks) = sets(text) {
        return Some(Place::Blocks(blocks.to_vec()));
    }
    if let Some(set) = BlockSet::named(text) {
        return Some(Place::Blocks(set.blocks().collect()));
    }
    if looks_like_block(text) {
        return block(value, findings).map(|block| Place::Blocks(vec![block]));
    }
    if !text.contains('.') {
        let names = BlockSet::ALL.map(BlockSet::name).into_iter().chain(own_names);
        let hint = closest(text, names);
        findings.note(&value.span(), format!("no set of addresses is called \"{text}\"{hint}"));
        return None;
    }
    name(text, value, findings).map(Place::Name)
}

/// A CIDR block, or a single address.
pub(super) fn block(value: &Value<'_>, findings: &mut Findings<'_>) -> Option<IpNet> {
    let text = string(value).unwrap_or_default();
    let block = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    if block.is_none() {
        let quote = findings.quote(&value.span());
        let message = format!("{quote} is neither an address nor a block like \"10.0.0.0/8\"");
        findings.note(&value.span(), message);
    }
    block
}

fn name(text: &str, value: &Value<'_>, findings: &mut Findings<'_>) -> Option<NamePattern> {
    let name = text.parse().ok();
    if name.is_none() {
        let hint = match text.strip_prefix('*') {
            Some(domain) => format!("; \"{domain}\" stands for a domain and all names below it"),
            None if !text.is_ascii() => "; write it in its ASCII form (xn--…)".to_owned(),
            None => String::new(),
        };
        findings.note(&value.span(), format!("\"{text}\" is no domain name{hint}"));
    }
    name
}

/// Whether whoever wrote this had an address in mind.
fn looks_like_block(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    text.contains(['/', ':']) || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))
}

fn string<'v>(value: &'v Value<'_>) -> Option<&'v str> {
    match value.get_ref() {
        DeValue::String(text) => Some(DeString::as_ref(text)),
        _ => None,
    }
}

fn integer(value: &Value<'_>) -> Option<u64> {
    match value.get_ref() {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    }
}
