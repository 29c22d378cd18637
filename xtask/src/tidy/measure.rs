//! Sizes of a Rust file, by its syntax: comments, blank lines and unit tests do not count.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use anyhow::Result;
use proc_macro2::{LineColumn, Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Block, ImplItemFn, ItemFn, ItemMod, Meta, Signature, TraitItemFn};

/// What there is to know of one file.
#[derive(Debug)]
pub(super) struct Measure {
    /// Lines with code on them, outside unit tests.
    pub(super) code_lines: usize,
    /// All functions, those of unit tests too.
    pub(super) functions: Vec<Function>,
    /// The first line with the keyword `unsafe`.
    pub(super) unsafe_line: Option<usize>,
}

/// A function and its size from signature to closing brace.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) lines: usize,
}

impl Measure {
    pub(super) fn of(text: &str) -> Result<Self> {
        let file = syn::parse_file(text)?;
        let mut code =
            Code { source: text.lines().collect(), lines: BTreeSet::new(), unsafe_line: None };
        code.add(text.parse().map_err(|error| anyhow::anyhow!("{error}"))?);
        let mut items = Items { code: &code.lines, functions: Vec::new(), tests: Vec::new() };
        items.visit_file(&file);
        let is_test = |line: &&usize| items.tests.iter().any(|range| range.contains(*line));
        let code_lines = code.lines.iter().filter(|line| !is_test(line)).count();
        Ok(Self { code_lines, functions: items.functions, unsafe_line: code.unsafe_line })
    }
}

/// Collects the lines that hold tokens. Comments are none; doc comments are, but are left out.
struct Code<'a> {
    source: Vec<&'a str>,
    lines: BTreeSet<usize>,
    unsafe_line: Option<usize>,
}

impl Code<'_> {
    fn add(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) if self.is_comment(group.span().start()) => {}
                TokenTree::Group(group) => {
                    self.mark(group.span_open());
                    self.add(group.stream());
                    self.mark(group.span_close());
                }
                TokenTree::Ident(ident) => {
                    if ident == "unsafe" {
                        self.unsafe_line.get_or_insert(ident.span().start().line);
                    }
                    self.mark(ident.span());
                }
                other => self.mark(other.span()),
            }
        }
    }

    fn mark(&mut self, span: Span) {
        let (start, end) = (span.start(), span.end());
        if !self.is_comment(start) {
            self.lines.extend(start.line..=end.line);
        }
    }

    /// Whether a token comes from a doc comment.
    fn is_comment(&self, at: LineColumn) -> bool {
        let line = self.source.get(at.line.wrapping_sub(1));
        let rest: String =
            line.map(|line| line.chars().skip(at.column).collect()).unwrap_or_default();
        rest.starts_with("//") || rest.starts_with("/*")
    }
}

/// Collects the functions, and the line ranges of unit tests.
struct Items<'a> {
    code: &'a BTreeSet<usize>,
    functions: Vec<Function>,
    tests: Vec<RangeInclusive<usize>>,
}

impl Items<'_> {
    fn add_function(&mut self, signature: &Signature, body: &Block) {
        let line = signature.fn_token.span.start().line;
        let end = body.brace_token.span.close().end().line;
        let lines = self.code.range(line..=end).count();
        self.functions.push(Function { name: signature.ident.to_string(), line, lines });
    }
}

impl<'ast> Visit<'ast> for Items<'_> {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.add_function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.add_function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(body) = &item.default {
            self.add_function(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if let (true, Some((brace, _))) = (item.attrs.iter().any(is_cfg_test), &item.content) {
            self.tests.push(item.mod_token.span.start().line..=brace.span.close().end().line);
        }
        visit::visit_item_mod(self, item);
    }
}

fn is_cfg_test(attribute: &Attribute) -> bool {
    match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_blank_lines_and_unit_tests_do_not_count() {
        let text = "//! Docs.\n\nuse a::b;\n\n/// Doc.\nfn f() {\n    // note\n    /* block */\n    g();\n}\n\n\
                    #[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";
        let measure = Measure::of(text).unwrap();
        assert_eq!(measure.code_lines, 5, "use, three lines of f, and the cfg attribute");
        let functions: Vec<_> =
            measure.functions.iter().map(|f| (&*f.name, f.line, f.lines)).collect();
        assert_eq!(functions, [("f", 6, 3), ("t", 14, 1)]);
    }

    #[test]
    fn all_lines_of_a_long_literal_are_code() {
        let text = "const A: &str = \"one\n// two\n\n four\";\n";
        assert_eq!(Measure::of(text).unwrap().code_lines, 4);
    }

    #[test]
    fn methods_and_default_bodies_are_functions() {
        let text =
            "trait T { fn a(&self); fn b(&self) {\n} }\nimpl T for X { fn a(&self) {\n\n} }\n";
        let names: Vec<_> =
            Measure::of(text).unwrap().functions.into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["b", "a"]);
    }

    #[test]
    fn unsafe_is_a_keyword_not_a_word() {
        assert_eq!(
            Measure::of("// unsafe\nfn f() -> &'static str { \"unsafe\" }").unwrap().unsafe_line,
            None
        );
        assert_eq!(Measure::of("fn f() {\n unsafe { g() } }").unwrap().unsafe_line, Some(2));
    }
}
