//! Which sections of which RFC the code cites, the tests prove, and the project deviates from.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::sources::{self, Source};

/// How often a section is cited, by kind of place.
#[derive(Debug, Default, PartialEq, Eq)]
struct Citations {
    code: usize,
    tests: usize,
    deviations: usize,
}

/// A section, as (number of the RFC, section); the section may be empty.
type Section = (u32, String);

/// Prints one line per section.
pub(crate) fn run() -> Result<()> {
    let mut sections = BTreeMap::new();
    for source in sources::all()?.iter().filter(|source| is_cited_from(source)) {
        count(source, &mut sections);
    }
    println!("{:<28} {:>5} {:>6} {:>10}", "section", "code", "tests", "deviations");
    for ((rfc, section), citations) in &sections {
        let name = format!("RFC {rfc} {section}");
        let Citations { code, tests, deviations } = citations;
        println!("{:<28} {code:>5} {tests:>6} {deviations:>10}", name.trim_end());
    }
    Ok(())
}

/// Rust sources and packet scripts.
fn is_cited_from(source: &Source) -> bool {
    source.is_rust() || source.path.extension().is_some_and(|extension| extension == "pkt")
}

fn count(source: &Source, sections: &mut BTreeMap<Section, Citations>) {
    let mut in_tests = source.is_test() || !source.is_rust();
    let mut deviates = false;
    for line in source.text.lines() {
        in_tests |= line.trim() == "#[cfg(test)]";
        // A deviation reaches to the end of its comment.
        deviates = line.trim_start().starts_with("//") && (deviates || line.contains("DEVIATION"));
        for section in cited(line) {
            let citations = sections.entry(section).or_default();
            let kind = match (deviates, in_tests) {
                (true, _) => &mut citations.deviations,
                (false, true) => &mut citations.tests,
                (false, false) => &mut citations.code,
            };
            *kind += 1;
        }
    }
}

/// The sections that a line names: `RFC 9293 §3.10.7.4`, or the RFC alone.
fn cited(line: &str) -> Vec<Section> {
    line.split("RFC ").skip(1).filter_map(section).collect()
}

fn section(text: &str) -> Option<Section> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let named = rest.strip_prefix(" §").map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
        format!("§{}", rest[..end].trim_end_matches('.'))
    });
    Some((number.parse().ok()?, named.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_with_and_without_a_number() {
        let found = cited("// RFC 9293 §3.10.7.4: see RFC 6528, and RFC 4443 §2.4(e).");
        let expected = [(9293, "§3.10.7.4"), (6528, ""), (4443, "§2.4")];
        assert_eq!(found, expected.map(|(rfc, section)| (rfc, section.to_owned())));
    }

    #[test]
    fn code_tests_and_deviations_are_told_apart() {
        let text = "// RFC 1 §2: rule\nf();\n// DEVIATION: shorter than\n// RFC 1 §2 says\ng();\n// RFC 1 §2\n\
                    #[cfg(test)]\nmod tests {\n// RFC 1 §2\n}\n";
        let mut sections = BTreeMap::new();
        count(&Source { path: "crates/a/src/lib.rs".into(), text: text.into() }, &mut sections);
        let expected = Citations { code: 2, tests: 1, deviations: 1 };
        assert_eq!(sections[&(1, "§2".to_owned())], expected);
    }
}
