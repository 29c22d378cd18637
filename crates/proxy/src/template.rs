//! The path templates of connect-udp (RFC 9298 §2) and connect-tcp, read from the server's side.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use pseudotcp_masque::Target;

use crate::ConfigError;

const HOST: &str = "{target_host}";
const PORT: &str = "{target_port}";

/// What stands around the two variables, the host first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathTemplate {
    before: String,
    between: String,
    after: String,
}

/// The templates of a server.
#[derive(Clone, Debug)]
pub(crate) struct Templates {
    pub(crate) tcp: PathTemplate,
    pub(crate) udp: PathTemplate,
}

impl Default for Templates {
    fn default() -> Self {
        Self { tcp: PathTemplate::well_known("tcp"), udp: PathTemplate::well_known("udp") }
    }
}

/// Why a request names no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathError {
    /// The path is not of this template.
    Elsewhere,
    /// The path is, but what it holds is no host or no port.
    Malformed,
}

impl PathTemplate {
    /// RFC 9298 §2: what clients use who were told nothing else.
    fn well_known(suffix: &str) -> Self {
        let before = format!("/.well-known/masque/{suffix}/");
        Self { before, between: "/".into(), after: "/".into() }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        // RFC 6570 §3.2.8: this form stands for the query written out.
        let text = text.replace(
            "{?target_host,target_port}",
            &format!("?target_host={HOST}&target_port={PORT}"),
        );
        let (before, rest) = text.split_once(HOST).ok_or(ConfigError::Template)?;
        let (between, after) = rest.split_once(PORT).ok_or(ConfigError::Template)?;
        let literal =
            |part: &str| part.bytes().all(|b| b.is_ascii_graphic() && !b"{}".contains(&b));
        let whole = [before, between, after].into_iter().all(literal);
        if !whole || !before.starts_with('/') || between.is_empty() {
            return Err(ConfigError::Template);
        }
        Ok(Self { before: before.into(), between: between.into(), after: after.into() })
    }

    /// The target that a request's path (with its query) names.
    pub(crate) fn target(&self, path: &str) -> Result<Target, PathError> {
        let rest = path.strip_prefix(&self.before).ok_or(PathError::Elsewhere)?;
        let rest = rest.strip_suffix(&self.after).ok_or(PathError::Elsewhere)?;
        let (host, port) = rest.split_once(&self.between).ok_or(PathError::Elsewhere)?;
        let host = decoded(host).ok_or(PathError::Malformed)?;
        let port = decoded(port).ok_or(PathError::Malformed)?;
        Target::from_parts(&host, &port).map_err(|_| PathError::Malformed)
    }
}

/// The value of a variable: unreserved characters and percent-encoded bytes (RFC 6570 §3.2.2).
fn decoded(value: &str) -> Option<Cow<'_, str>> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~%".contains(&b);
    if !value.bytes().all(allowed) {
        return None;
    }
    percent_decode_str(value).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: &str = "/.well-known/masque/udp/{target_host}/{target_port}/";

    fn target(template: &str, path: &str) -> Result<String, PathError> {
        PathTemplate::parse(template).unwrap().target(path).map(|target| target.to_string())
    }

    #[test]
    fn the_default_takes_names_and_addresses() {
        for (host, shown) in [
            ("192.0.2.1", "192.0.2.1:53"),
            ("2001%3Adb8%3A%3A42", "[2001:db8::42]:53"),
            ("example.org", "example.org:53"),
        ] {
            let path = format!("/.well-known/masque/udp/{host}/53/");
            assert_eq!(target(DEFAULT, &path), Ok(shown.to_owned()));
        }
    }

    #[test]
    fn paths_are_read_strictly() {
        for path in ["/", "/other/192.0.2.1/53/", "/.well-known/masque/udp/192.0.2.1/53"] {
            assert_eq!(target(DEFAULT, path), Err(PathError::Elsewhere), "{path}");
        }
        for tail in [
            "/53/",
            "192.0.2.1//",
            "192.0.2.1/0/",
            "192.0.2.1/65536/",
            "192.0.2.1/+53/",
            "192.0.2.1/5%00/",
            "%5B%3A%3A1%5D/53/",
            "fe80%3A%3A1%25eth0/53/",
            "a..b/53/",
            "%ff/53/",
            "192.0.2/53/",
            "a/b/53/",
            "a%2Fb/53/",
            "*/*/",
            "::1/53/",
        ] {
            let path = format!("/.well-known/masque/udp/{tail}");
            assert_eq!(target(DEFAULT, &path), Err(PathError::Malformed), "{path}");
        }
    }

    #[test]
    fn the_default_is_written_as_in_the_rfc() {
        assert_eq!(PathTemplate::parse(DEFAULT).unwrap(), Templates::default().udp);
    }

    #[test]
    fn other_templates_serve_too() {
        let query = "/masque{?target_host,target_port}";
        let shown = Ok("192.0.2.1:443".to_owned());
        assert_eq!(target(query, "/masque?target_host=192.0.2.1&target_port=443"), shown);
        assert_eq!(target("/{target_host}/{target_port}/", "/192.0.2.1/443/"), shown);
    }

    #[test]
    fn templates_without_both_variables_are_refused() {
        for bad in [
            "/",
            "/{target_host}/",
            "{target_host}/{target_port}",
            "/{target_host}{target_port}/",
            "/{x}/{target_host}/{target_port}/",
            "/{target_port}/{target_host}/",
            "/ä/{target_host}/{target_port}/",
        ] {
            assert!(PathTemplate::parse(bad).is_err(), "{bad}");
        }
    }
}
