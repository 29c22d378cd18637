use std::fmt;
use std::str::FromStr;

/// A domain that a rule names: one host, or a domain with everything below it.
///
/// ```
/// use pseudotcp_policy::NamePattern;
///
/// let host: NamePattern = "www.example.com".parse()?; // this name only
/// let domain: NamePattern = ".example.com".parse()?; // example.com and all names below it
/// # Ok::<(), pseudotcp_policy::InvalidName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamePattern {
    domain: Box<str>,
    has_all_below: bool,
}

impl NamePattern {
    /// The domain in lower case, without dots around it.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether names below the domain match, too.
    pub fn has_all_below(&self) -> bool {
        self.has_all_below
    }
}

/// A text that is no domain name in ASCII form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a domain name of ASCII letters, digits, hyphens, underscores and dots")]
pub struct InvalidName;

/// `name.example` for the name itself, `.name.example` for all names below it as well.
impl FromStr for NamePattern {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let below = text.strip_prefix('.');
        let domain = below.unwrap_or(text);
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        // RFC 1035 §2.3.4: at most 255 octets on the wire, which are 253 characters.
        if domain.len() > 253 || !domain.split('.').all(is_label) {
            return Err(InvalidName);
        }
        let domain = domain.to_ascii_lowercase().into();
        Ok(Self { domain, has_all_below: below.is_some() })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.has_all_below {
            f.write_str(".")?;
        }
        f.write_str(&self.domain)
    }
}
