//! URI templates of UDP proxies (RFC 9298 §2): written by clients, read by proxies.
//!
//! ```
//! use pseudotcp_masque::{Target, template::{Template, parse_well_known_path}};
//!
//! let target = Target::host("2001:db8::42", 443);
//! let uri = Template::well_known("proxy.example")?.expand(&target);
//! assert_eq!(uri, "https://proxy.example/.well-known/masque/udp/2001%3Adb8%3A%3A42/443/");
//! assert_eq!(parse_well_known_path("/.well-known/masque/udp/2001%3Adb8%3A%3A42/443/")?, target);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::Target;
use crate::target::InvalidTarget;

/// The path of the default template, up to its variables (RFC 9298 §2).
const WELL_KNOWN_PATH: &str = "/.well-known/masque/udp/";

/// The same of connect-tcp.
const WELL_KNOWN_TCP_PATH: &str = "/.well-known/masque/tcp/";

const HOST: &str = "target_host";
const PORT: &str = "target_port";

/// What makes a template unfit for a UDP proxy (RFC 9298 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A byte outside printable ASCII, or a space.
    #[error("only printable ASCII without spaces may stand in a template")]
    Character,
    /// No scheme, no authority, or a path that does not begin with a slash.
    #[error("a template must be an absolute URI with a scheme, an authority and a path")]
    NotAbsolute,
    /// A variable before the path, or in a fragment.
    #[error("variables may stand only in the path and the query of a template")]
    Misplaced,
    /// A brace without its other half, an empty or odd variable name, or a level above 3.
    #[error("malformed expression in a template")]
    Expression,
    /// An operator that RFC 9298 forbids: `+`, `#`, `.`, `/` or `;`.
    #[error("the operator {0:?} may not stand in a template")]
    Operator(char),
    /// `target_host` or `target_port` is not there.
    #[error("the template lacks the variable {0}")]
    Missing(&'static str),
}

/// A checked template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Expression { operator: Operator, variables: Vec<String> },
}

/// The operators of RFC 6570 that RFC 9298 §2 leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    /// `{a,b}`: values with commas.
    Simple,
    /// `{?a,b}`: begins a query.
    Query,
    /// `{&a,b}`: continues a query.
    Continuation,
}

impl Template {
    /// Checks a template by the rules of RFC 9298 §2.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TemplateError::Character);
        }
        check_frame(text)?;
        let parts = parse_parts(text)?;
        for name in [HOST, PORT] {
            let named = |part: &Part| match part {
                Part::Literal(_) => false,
                Part::Expression { variables, .. } => variables.iter().any(|v| v == name),
            };
            if !parts.iter().any(named) {
                return Err(TemplateError::Missing(name));
            }
        }
        Ok(Self { parts })
    }

    /// The default template of the proxy at `authority` (`host` or `host:port`).
    pub fn well_known(authority: &str) -> Result<Self, TemplateError> {
        Self::parse(&format!("https://{authority}{WELL_KNOWN_PATH}{{{HOST}}}/{{{PORT}}}/"))
    }

    /// The default template for connect-tcp (draft-ietf-httpbis-connect-tcp) at `authority`.
    pub fn well_known_tcp(authority: &str) -> Result<Self, TemplateError> {
        Self::parse(&format!("https://{authority}{WELL_KNOWN_TCP_PATH}{{{HOST}}}/{{{PORT}}}/"))
    }

    /// The URI to ask for `target`. Variables other than the two of RFC 9298 are undefined.
    pub fn expand(&self, target: &Target) -> String {
        let host = match target {
            // RFC 9298 §2: IPv6 without brackets, its colons percent-encoded.
            Target::Address(address) => address.ip().to_string(),
            Target::Host { name, .. } => name.to_string(),
        };
        let port = target.port().to_string();
        let value = |name: &str| match name {
            HOST => Some(host.as_str()),
            PORT => Some(port.as_str()),
            _ => None,
        };
        let mut uri = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => uri.push_str(text),
                Part::Expression { operator, variables } => {
                    let defined = variables.iter().filter_map(|n| Some((n.as_str(), value(n)?)));
                    expand_expression(*operator, defined, &mut uri);
                }
            }
        }
        uri
    }
}

/// The target in a path of the default template, as a proxy receives it.
///
/// Every step is strict: the final slash, valid percent-encoding, a port from 1 to 65,535, and an IP
/// literal or a plausible host name.
pub fn parse_well_known_path(path: &str) -> Result<Target, InvalidTarget> {
    let variables = path.strip_prefix(WELL_KNOWN_PATH).ok_or(InvalidTarget)?;
    let (host, port) = variables
        .strip_suffix('/')
        .and_then(|variables| variables.split_once('/'))
        .ok_or(InvalidTarget)?;
    Target::from_parts(&percent_decode(host)?, &percent_decode(port)?)
}

/// Checks what surrounds the variables: `scheme "://" authority "/"`, and no variable before it.
fn check_frame(text: &str) -> Result<(), TemplateError> {
    let (scheme, rest) = text.split_once("://").ok_or(TemplateError::NotAbsolute)?;
    let (authority, path) = rest.split_once('/').ok_or(TemplateError::NotAbsolute)?;
    if [scheme, authority].iter().any(|part| part.contains(['{', '}'])) {
        return Err(TemplateError::Misplaced);
    }
    let scheme_is_valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !scheme_is_valid || authority.is_empty() || authority.contains(['?', '#']) {
        return Err(TemplateError::NotAbsolute);
    }
    // The operator `{#…}` has an error of its own; any other `#` begins a fragment.
    let fragment = path.match_indices('#').any(|(at, _)| !path[..at].ends_with('{'));
    if fragment { Err(TemplateError::Misplaced) } else { Ok(()) }
}

fn parse_parts(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((literal, tail)) = rest.split_once('{') {
        let (expression, tail) = tail.split_once('}').ok_or(TemplateError::Expression)?;
        push_literal(literal, &mut parts)?;
        parts.push(parse_expression(expression)?);
        rest = tail;
    }
    push_literal(rest, &mut parts)?;
    Ok(parts)
}

fn push_literal(text: &str, parts: &mut Vec<Part>) -> Result<(), TemplateError> {
    if text.contains('}') {
        return Err(TemplateError::Expression);
    }
    if !text.is_empty() {
        parts.push(Part::Literal(text.to_owned()));
    }
    Ok(())
}

fn parse_expression(expression: &str) -> Result<Part, TemplateError> {
    let (operator, names) = match expression.chars().next() {
        Some('?') => (Operator::Query, &expression[1..]),
        Some('&') => (Operator::Continuation, &expression[1..]),
        Some(other) if "+#./;".contains(other) => return Err(TemplateError::Operator(other)),
        _ => (Operator::Simple, expression),
    };
    let variables: Vec<_> = names.split(',').map(str::to_owned).collect();
    // RFC 6570 §2.3; its modifiers `*` and `:` are level 4, which RFC 9298 §2 forbids.
    let is_name = |name: &String| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.%".contains(&b))
    };
    if variables.iter().all(is_name) {
        Ok(Part::Expression { operator, variables })
    } else {
        Err(TemplateError::Expression)
    }
}

/// Appends the expansion of one expression (RFC 6570 §3.2).
fn expand_expression<'a>(
    operator: Operator,
    variables: impl Iterator<Item = (&'a str, &'a str)>,
    uri: &mut String,
) {
    for (index, (name, value)) in variables.enumerate() {
        match (operator, index) {
            (Operator::Simple, 0) => {}
            (Operator::Simple, _) => uri.push(','),
            (Operator::Query, 0) => uri.push('?'),
            (Operator::Query | Operator::Continuation, _) => uri.push('&'),
        }
        if operator != Operator::Simple {
            uri.push_str(name);
            uri.push('=');
        }
        percent_encode(value, uri);
    }
}

/// Appends `value` with all but the unreserved characters of RFC 3986 §2.3 encoded.
fn percent_encode(value: &str, out: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let digit = |nibble| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
            out.push('%');
            out.push(digit(byte >> 4).to_ascii_uppercase());
            out.push(digit(byte & 15).to_ascii_uppercase());
        }
    }
}

/// Decodes percent-encoding; anything malformed, or not ASCII afterwards, is an error.
fn percent_decode(text: &str) -> Result<String, InvalidTarget> {
    let mut out = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' { decode_hex(bytes.next(), bytes.next())? } else { byte };
        if !byte.is_ascii() {
            return Err(InvalidTarget);
        }
        out.push(char::from(byte));
    }
    Ok(out)
}

fn decode_hex(high: Option<u8>, low: Option<u8>) -> Result<u8, InvalidTarget> {
    let digit =
        |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (high, low) = digit(high).zip(digit(low)).ok_or(InvalidTarget)?;
    Ok(high << 4 | low)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;

    fn expand(template: &str, host: &str) -> String {
        Template::parse(template).unwrap().expand(&Target::host(host, 443))
    }

    #[test]
    fn the_forms_of_the_rfc_expand() {
        for (template, expected) in [
            ("https://p.example/{target_host}/{target_port}/", "https://p.example/192.0.2.6/443/"),
            (
                "https://p:4443/masque?h={target_host}&p={target_port}",
                "https://p:4443/masque?h=192.0.2.6&p=443",
            ),
            (
                "https://p/m{?target_host,target_port}",
                "https://p/m?target_host=192.0.2.6&target_port=443",
            ),
            (
                "https://p/m?x=1{&target_port,target_host}",
                "https://p/m?x=1&target_port=443&target_host=192.0.2.6",
            ),
            ("https://p/{target_host,target_port}{?unknown}", "https://p/192.0.2.6,443"),
            (
                "https://p/m{?unknown,target_host}{&target_port}",
                "https://p/m?target_host=192.0.2.6&target_port=443",
            ),
        ] {
            assert_eq!(expand(template, "192.0.2.6"), expected);
        }
    }

    #[test]
    fn hosts_are_percent_encoded() {
        let template = "https://p/{target_host}/{target_port}";
        assert_eq!(expand(template, "2001:db8::42"), "https://p/2001%3Adb8%3A%3A42/443");
        assert_eq!(expand(template, "a_b.example"), "https://p/a_b.example/443");
        assert_eq!(expand(template, "a/?b"), "https://p/a%2F%3Fb/443");
    }

    #[test]
    fn unfit_templates_are_rejected() {
        use TemplateError::{Character, Expression, Misplaced, Missing, NotAbsolute, Operator};
        for (template, expected) in [
            ("https://p/ {target_host}/{target_port}", Character),
            ("https://p/é{target_host}/{target_port}", Character),
            ("/m/{target_host}/{target_port}", NotAbsolute),
            ("https://p?h={target_host}&p={target_port}", NotAbsolute),
            ("https:///{target_host}/{target_port}", NotAbsolute),
            ("1s://p/{target_host}/{target_port}", NotAbsolute),
            ("https://{target_host}/{target_port}", Misplaced),
            ("https://p/{target_host}#{target_port}", Misplaced),
            ("https://p/{target_host}/{target_port", Expression),
            ("https://p/{target_host}}/{target_port}", Expression),
            ("https://p/{target_host:3}/{target_port}", Expression),
            ("https://p/{target_host*}/{target_port}", Expression),
            ("https://p/{target_host}/{target_port}{}", Expression),
            ("https://p/{target_host}/{|target_port}", Expression),
            ("https://p/{+target_host}/{target_port}", Operator('+')),
            ("https://p/{#target_host}/{target_port}", Operator('#')),
            ("https://p/{.target_host}/{target_port}", Operator('.')),
            ("https://p{/target_host,target_port}", Misplaced),
            ("https://p/x{/target_host,target_port}", Operator('/')),
            ("https://p/{;target_host}/{target_port}", Operator(';')),
            ("https://p/{target_host}/", Missing("target_port")),
            ("https://p/{target_port}/", Missing("target_host")),
        ] {
            assert_eq!(Template::parse(template), Err(expected), "{template}");
        }
    }

    #[test]
    fn default_paths_are_read_strictly() {
        let read = |rest: &str| parse_well_known_path(&format!("{WELL_KNOWN_PATH}{rest}"));
        assert_eq!(read("192.0.2.6/443/"), Ok(Target::host("192.0.2.6", 443)));
        assert_eq!(read("name.example/53/"), Ok(Target::host("name.example", 53)));
        assert_eq!(read("2001%3adb8%3A%3A42/%34/"), Ok(Target::host("2001:db8::42", 4)));
        for bad in [
            "",
            "/",
            "a/1",
            "a/0/",
            "a/65536/",
            "a/+1/",
            "a/ 1/",
            "a/1//",
            "a/b/1/",
            "a//",
            "/1/",
            "a%/1/",
            "a%2/1/",
            "a%zz/1/",
            "a%ff/1/",
            "a%00b/1/",
            "a%20b/1/",
            "a%2Fb/1/",
            "a..b/1/",
            "%5B2001%3Adb8%3A%3A42%5D/1/",
            "fe80%3A%3A1%25eth0/1/",
            "a/1/?x",
            "*/1/",
        ] {
            assert_eq!(read(bad), Err(InvalidTarget), "{bad}");
        }
        assert_eq!(parse_well_known_path("/other/a/1/"), Err(InvalidTarget));
    }

    proptest! {
        #[test]
        fn hostile_input_never_panics(text: String, ascii in "[ -~]{0,60}") {
            for text in [&text, &ascii] {
                let _ = Template::parse(text);
                let _ = Template::parse(&format!("https://p/{text}{{target_host}}{{target_port}}"));
                let _ = parse_well_known_path(text);
                let _ = parse_well_known_path(&format!("{WELL_KNOWN_PATH}{text}"));
            }
        }

        #[test]
        fn what_a_client_writes_a_proxy_reads(address: SocketAddr) {
            prop_assume!(address.port() != 0);
            let target = Target::from(SocketAddr::new(address.ip(), address.port()));
            let uri = Template::well_known("p").unwrap().expand(&target);
            prop_assert_eq!(parse_well_known_path(uri.strip_prefix("https://p").unwrap()), Ok(target));
        }
    }
}
