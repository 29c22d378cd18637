//! Any text: rules that decide, or mistakes that are told by place.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use pseudotcp_packet::{FlowKey, Protocol};
use pseudotcp_policy::text::parse;
use pseudotcp_policy::{Decision, Owner, Question, Rules, RulesBuilder, Verdict};

fuzz_target!(|input: (&str, IpAddr, IpAddr, u16, &str, u32)| {
    let (text, source, destination, port, name, number) = input;
    let sheet = match parse(text) {
        Ok(sheet) => sheet,
        Err(errors) => {
            let lines: Vec<usize> = errors.iter().map(|error| error.line()).collect();
            assert!(!lines.is_empty() && lines.is_sorted() && lines[0] > 0);
            assert!(*lines.last().unwrap() <= text.split('\n').count());
            return;
        }
    };
    let verdicts: Vec<Verdict> = sheet.rules.iter().map(|entry| entry.rule.verdict()).collect();
    assert!(sheet.rules.iter().all(|entry| entry.line > 0 && entry.text.chars().count() <= 160));
    let rules = sheet.rules.into_iter().map(|entry| entry.rule);
    let rules = rules.fold(Rules::builder(), RulesBuilder::rule).build();

    let ends = (SocketAddr::new(source, 9), SocketAddr::new(destination, port));
    let owner = Owner { uid: Some(number), mark: Some(number) };
    let question = Question::from(FlowKey::new(Protocol::Udp, ends.0, ends.1));
    match rules.decide(question.name(name).owner(owner)) {
        Decision { verdict, rule: Some(rule), .. } => assert_eq!(verdict, verdicts[rule]),
        Decision { verdict, .. } => assert_eq!(verdict, Verdict::Proxy),
    }
    assert_eq!(Rules::default().decide(question).rule, None);
});
