//! Which sections of which RFC the code cites, the tests and packet scripts prove, and the project
//! deviates from; and which of those that the TCP engine cites nothing proves.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Result, ensure};
use clap::Args;

use crate::sources::{self, Source};

/// What a section that is cited here should have: a test or a script that cites it too.
const PROVEN: &str = "crates/tcp/src";

/// The part of an RFC for which that is no wish.
const BINDING: (u32, &str) = (9293, "§3.10");

/// What to do with the sections.
#[derive(Args)]
pub(crate) struct Options {
    /// Print only what nothing proves, and fail if RFC 9293 §3.10 is among it.
    #[arg(long)]
    check: bool,
}

impl Options {
    /// What the CI asks for.
    pub(crate) fn check() -> Self {
        Self { check: true }
    }
}

/// How often a section is cited, by kind of place.
#[derive(Debug, Default, PartialEq, Eq)]
struct Citations {
    code: usize,
    tests: usize,
    deviations: usize,
    /// By the code whose sections should be proven.
    engine: bool,
}

/// A section of an RFC, or an RFC as a whole where the name is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Section {
    rfc: u32,
    name: String,
}

impl Section {
    fn is_binding(&self) -> bool {
        self.rfc == BINDING.0 && self.name.starts_with(BINDING.1)
    }
}

type Sections = BTreeMap<Section, Citations>;

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(format!("RFC {} {}", self.rfc, self.name).trim_end())
    }
}

/// Prints one line per section, and what nothing proves.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut sections = Sections::new();
    for source in sources::all()?.iter().filter(|source| is_cited_from(source)) {
        count(source, &mut sections);
    }
    if !options.check {
        print(&sections);
    }
    let unproven: Vec<&Section> = unproven(&sections).collect();
    println!("cited in {PROVEN}, and by no test or script: {}", unproven.len());
    for section in &unproven {
        println!("  {section}");
    }
    let binding = unproven.iter().any(|section| section.is_binding());
    ensure!(!options.check || !binding, "RFC {} {} must be proven", BINDING.0, BINDING.1);
    Ok(())
}

fn print(sections: &Sections) {
    println!("{:<28} {:>5} {:>6} {:>10}", "section", "code", "tests", "deviations");
    for (section, Citations { code, tests, deviations, .. }) in sections {
        println!("{section:<28} {code:>5} {tests:>6} {deviations:>10}");
    }
}

/// The sections that should be proven and are not. Who cites an RFC as a whole is content with any of
/// its sections.
fn unproven(sections: &Sections) -> impl Iterator<Item = &Section> {
    let is_proven = |wanted: &Section| {
        let mut tested = sections.iter().filter(|(_, citations)| citations.tests > 0);
        tested.any(|(section, _)| {
            section == wanted || wanted.name.is_empty() && section.rfc == wanted.rfc
        })
    };
    let cited = sections.iter().filter(|(_, citations)| citations.engine);
    cited.map(|(section, _)| section).filter(move |section| !is_proven(section))
}

/// Rust sources and packet scripts.
fn is_cited_from(source: &Source) -> bool {
    source.is_rust() || source.path.extension().is_some_and(|extension| extension == "pkt")
}

fn count(source: &Source, sections: &mut Sections) {
    let mut in_tests = source.is_test() || !source.is_rust();
    let mut deviates = false;
    for line in source.text.lines() {
        in_tests |= line.trim() == "#[cfg(test)]";
        // A deviation reaches to the end of its comment.
        deviates = line.trim_start().starts_with("//") && (deviates || line.contains("DEVIATION"));
        for section in cited(line) {
            let citations = sections.entry(section).or_default();
            citations.engine |= !in_tests && source.path.starts_with(Path::new(PROVEN));
            let kind = match (deviates, in_tests) {
                (true, _) => &mut citations.deviations,
                (false, true) => &mut citations.tests,
                (false, false) => &mut citations.code,
            };
            *kind += 1;
        }
    }
}

/// The sections that a line names: `RFC 9293 §3.10.7.4`, `RFC 6298 §5.2 and §5.3`, the RFC alone, or
/// a test's name like `rfc_9438_4_7_a_second_loss`.
fn cited(line: &str) -> Vec<Section> {
    let named = line.split_once("fn rfc_").and_then(|(_, name)| section_of_name(name));
    line.split("RFC ").skip(1).flat_map(sections_of).chain(named).collect()
}

fn section_of_name(name: &str) -> Option<Section> {
    let mut numbers = name.split('_').map_while(|part| part.parse::<u32>().ok());
    let rfc = numbers.next()?;
    let section: Vec<String> = numbers.map(|number| number.to_string()).collect();
    let name = if section.is_empty() { String::new() } else { format!("§{}", section.join(".")) };
    Some(Section { rfc, name })
}

fn sections_of(text: &str) -> Vec<Section> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, mut rest) = text.split_at(digits);
    let Ok(rfc) = number.parse() else { return Vec::new() };
    let mut sections = Vec::new();
    for joint in [" §", " and §", ", §"].iter().cycle().take(9) {
        let Some(named) = rest.strip_prefix(joint) else { continue };
        let end = named.find(|c: char| !c.is_ascii_alphanumeric() && c != '.');
        let (name, after) = named.split_at(end.unwrap_or(named.len()));
        sections.push(Section { rfc, name: format!("§{}", name.trim_end_matches('.')) });
        rest = after;
    }
    if sections.is_empty() {
        sections.push(Section { rfc, name: String::new() });
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(rfc: u32, name: &str) -> Section {
        Section { rfc, name: name.to_owned() }
    }

    fn counted(path: &str, text: &str) -> Sections {
        let mut sections = Sections::new();
        count(&Source { path: path.into(), text: text.into() }, &mut sections);
        sections
    }

    #[test]
    fn sections_are_found_with_and_without_a_number() {
        let found = cited("// RFC 9293 §3.10.7.4: see RFC 6528, and RFC 4443 §2.4(e).");
        assert_eq!(found, [section(9293, "§3.10.7.4"), section(6528, ""), section(4443, "§2.4")]);
        let found = cited("// RFC 6298 §5.2 and §5.3, RFC 1 §2, §3.");
        let names = [(6298, "§5.2"), (6298, "§5.3"), (1, "§2"), (1, "§3")];
        assert_eq!(found, names.map(|(rfc, name)| section(rfc, name)));
        assert_eq!(cited("fn rfc_9438_4_7_a_loss() {"), [section(9438, "§4.7")]);
        assert_eq!(cited("fn rfc_2525_a_reset() {"), [section(2525, "")]);
    }

    #[test]
    fn code_tests_and_deviations_are_told_apart() {
        let text = "// RFC 1 §2: rule\nf();\n// DEVIATION: shorter than\n// RFC 1 §2 says\ng();\n// RFC 1 §2\n\
                    #[cfg(test)]\nmod tests {\n// RFC 1 §2\n}\n";
        let sections = counted("crates/a/src/lib.rs", text);
        let expected = Citations { code: 2, tests: 1, deviations: 1, engine: false };
        assert_eq!(sections[&section(1, "§2")], expected);
    }

    #[test]
    fn what_the_engine_cites_should_be_proven() {
        let code = "// RFC 1 §2\n// RFC 3: as a whole\n// RFC 4 §5\n";
        let mut sections = counted("crates/tcp/src/lib.rs", code);
        for (path, text) in [
            ("crates/tcp/tests/scripts/a.pkt", "// RFC 1 §2"),
            ("crates/tcp/tests/a.rs", "// RFC 3 §7\n// RFC 4 §6"),
        ] {
            count(&Source { path: path.into(), text: text.into() }, &mut sections);
        }
        assert_eq!(unproven(&sections).collect::<Vec<_>>(), [&section(4, "§5")]);
        assert!(section(9293, "§3.10.4").is_binding() && !section(9293, "§3.7").is_binding());
    }
}
