use std::fmt;

use crate::proxy_status::ProxyStatus;

/// How many characters of each of the proxy's own words are kept.
const MOST: usize = 200;

/// What a proxy answered when it did not open a flow: for logs and for people.
///
/// Whatever the proxy says is cut to 200 characters, its white space is narrowed, and `Display` shows
/// it in quotes with all that is not printable escaped: a hostile proxy can neither forge lines of a
/// log nor fill it.
///
/// ```
/// use pseudotcp_masque::Answer;
/// use pseudotcp_masque::proxy_status::ProxyStatus;
///
/// let field = br#"squid; error=http_request_denied; details="not on Sundays""#;
/// let answer = Answer::new(403).with_proxy_status(ProxyStatus::parse([&field[..]]).as_ref());
/// assert_eq!(answer.to_string(), r#"403, http_request_denied, "not on Sundays""#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    proxy_status: Option<ProxyStatus>,
    reason: String,
    text: String,
}

impl Answer {
    /// An answer with this HTTP status.
    pub fn new(status: u16) -> Self {
        Self { status, proxy_status: None, reason: String::new(), text: String::new() }
    }

    /// Adds what its Proxy-Status (RFC 9209) says.
    #[must_use]
    pub fn with_proxy_status(mut self, said: Option<&ProxyStatus>) -> Self {
        self.proxy_status = said.map(|said| said.shortened(shorten));
        self
    }

    /// Adds the reason phrase of HTTP/1.1's status line.
    #[must_use]
    pub fn with_reason(mut self, reason: &[u8]) -> Self {
        self.reason = shorten(&String::from_utf8_lossy(reason));
        self
    }

    /// Adds the beginning of its body, where that is plain text.
    #[must_use]
    pub fn with_text(mut self, text: &[u8]) -> Self {
        // Of each character four bytes at the most.
        let beginning = text.get(..4 * MOST).unwrap_or(text);
        self.text = shorten(&String::from_utf8_lossy(beginning));
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What its Proxy-Status says.
    pub fn proxy_status(&self) -> Option<&ProxyStatus> {
        self.proxy_status.as_ref()
    }

    /// Leaves the status alone, and none of the words, where one of `secrets` is among them: some
    /// proxies repeat what they were sent.
    #[must_use]
    pub fn without<'a>(self, mut secrets: impl Iterator<Item = &'a str>) -> Self {
        let words = self.words();
        if secrets.any(|secret| words.iter().any(|word| word.contains(secret))) {
            Self::new(self.status)
        } else {
            self
        }
    }

    /// The proxy's own words, those that there are.
    fn words(&self) -> Vec<&str> {
        let said = self.proxy_status.as_ref();
        let rcode = said.and_then(ProxyStatus::rcode);
        let details = said.and_then(ProxyStatus::details);
        let words = [Some(&self.reason[..]), rcode, details, Some(&self.text[..])];
        words.into_iter().flatten().filter(|words| !words.is_empty()).collect()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(error) = self.proxy_status.as_ref().and_then(ProxyStatus::error) {
            write!(f, ", {}", error.name())?;
        }
        self.words().iter().try_for_each(|words| write!(f, ", {words:?}"))
    }
}

/// The beginning of `text`, with a space for any white space.
fn shorten(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(field: &str) -> Option<ProxyStatus> {
        ProxyStatus::parse([field.as_bytes()])
    }

    #[test]
    fn the_proxy_is_quoted() {
        let field = r#"squid; error=dns_error; rcode="NXDOMAIN"; details="no such host""#;
        let answer = Answer::new(502).with_reason(b"Bad Gateway");
        let answer = answer.with_proxy_status(said(field).as_ref()).with_text(b"Try\n again!\n");
        let expected = r#"502, dns_error, "Bad Gateway", "NXDOMAIN", "no such host", "Try again!""#;
        assert_eq!(answer.to_string(), expected);
        assert_eq!(Answer::new(503).to_string(), "503");
    }

    #[test]
    fn what_repeats_a_secret_is_left_out() {
        let field = r#"p; error=http_request_denied; details="bad token hunter2""#;
        for answer in [
            Answer::new(403).with_proxy_status(said(field).as_ref()),
            Answer::new(403).with_reason(b"hunter2 is wrong"),
            Answer::new(403).with_text(b"who are you, hunter2?"),
        ] {
            assert_eq!(answer.clone().without(["sesame"].into_iter()), answer);
            assert_eq!(answer.without(["sesame", "hunter2"].into_iter()), Answer::new(403));
        }
    }

    proptest! {
        #[test]
        fn no_proxy_forges_a_log(text: Vec<u8>, reason in "\\PC*|[\0-\u{a0}\u{202e}]*", long in "a{0,5000}") {
            let answer = Answer::new(500).with_text(&text).with_reason(reason.as_bytes());
            for answer in [answer, Answer::new(500).with_text(long.as_bytes())] {
                let shown = answer.to_string();
                // An escape is ten characters long at the most.
                prop_assert!(shown.len() <= 2 * 10 * MOST + 20);
                let harmless = |c: char| !c.is_control() && !('\u{202a}'..='\u{202e}').contains(&c);
                prop_assert!(shown.chars().all(harmless), "{shown:?}");
            }
        }
    }
}
