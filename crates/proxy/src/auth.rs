//! Authentication: which credentials open the proxy.
//!
//! A proxy asks for them by 407 (RFC 9110 §11.7); connect-tcp makes it an origin, which asks by 401
//! (RFC 9110 §11.6).

use std::fmt;
use std::hint::black_box;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, PROXY_AUTHORIZATION};

use crate::ConfigError;

/// The credentials that are accepted; none at all means that the proxy is open.
#[derive(Clone, Default)]
pub(crate) struct Auth {
    accepted: Vec<Credential>,
}

#[derive(Clone)]
struct Credential {
    scheme: String,
    secret: String,
}

impl Auth {
    /// RFC 7617 §2: `Basic` with the base64 of `user:password`; the first colon ends the user.
    pub(crate) fn accept_basic(&mut self, user: &str, password: &str) -> Result<(), ConfigError> {
        if user.contains(':') {
            return Err(ConfigError::Credential);
        }
        let secret = STANDARD.encode(format!("{user}:{password}"));
        self.accepted.push(Credential { scheme: "Basic".into(), secret });
        Ok(())
    }

    /// Any `Scheme credentials`, as the header carries it.
    pub(crate) fn accept(&mut self, value: &str) -> Result<(), ConfigError> {
        HeaderValue::from_str(value).map_err(|_| ConfigError::Credential)?;
        let credential = Credential::parse(value.trim()).ok_or(ConfigError::Credential)?;
        self.accepted.push(credential);
        Ok(())
    }

    /// Whether the request may be served. Its credentials count in either field: what is right for
    /// a proxy is not wrong for an origin.
    pub(crate) fn allows(&self, headers: &HeaderMap) -> bool {
        let knows = |field| headers.get_all(field).iter().any(|value| self.knows(value));
        self.accepted.is_empty() || knows(PROXY_AUTHORIZATION) || knows(AUTHORIZATION)
    }

    /// One challenge for each scheme that is accepted.
    pub(crate) fn challenges(&self) -> impl Iterator<Item = HeaderValue> {
        let mut schemes: Vec<&str> = self.accepted.iter().map(|c| c.scheme.as_str()).collect();
        schemes.sort_unstable();
        schemes.dedup();
        schemes.into_iter().filter_map(|scheme| {
            HeaderValue::from_str(&format!("{scheme} realm=\"pseudotcp\"")).ok()
        })
    }

    fn knows(&self, value: &HeaderValue) -> bool {
        let Some(given) = value.to_str().ok().and_then(Credential::parse) else { return false };
        self.accepted.iter().any(|known| known.matches(&given))
    }
}

impl Credential {
    fn parse(value: &str) -> Option<Self> {
        let (scheme, secret) = value.split_once(' ')?;
        Some(Self { scheme: scheme.into(), secret: secret.trim().into() })
    }

    /// RFC 9110 §11.1: schemes are compared without regard to case, credentials exactly.
    fn matches(&self, other: &Self) -> bool {
        self.scheme.eq_ignore_ascii_case(&other.scheme)
            && equal_in_constant_time(self.secret.as_bytes(), other.secret.as_bytes())
    }
}

/// Compares without telling by its duration where the first difference lies.
fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |sum, (x, y)| black_box(sum | (x ^ y)));
    a.len() == b.len() && difference == 0
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("accepted", &self.accepted.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(PROXY_AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
    }

    fn auth() -> Auth {
        let mut auth = Auth::default();
        auth.accept_basic("user", "pass").unwrap();
        auth.accept("Bearer secret-token").unwrap();
        auth
    }

    #[test]
    fn an_open_proxy_asks_for_nothing() {
        assert!(Auth::default().allows(&HeaderMap::new()));
    }

    #[test]
    fn only_the_right_credentials_are_taken() {
        let auth = auth();
        for good in ["Basic dXNlcjpwYXNz", "basic dXNlcjpwYXNz", "Bearer secret-token"] {
            assert!(auth.allows(&headers(good)), "{good}");
        }
        for bad in ["Basic", "Basic dXNlcjpwYXN6", "Bearer dXNlcjpwYXNz", "Bearer secret-toke", "x"]
        {
            assert!(!auth.allows(&headers(bad)), "{bad}");
        }
        assert!(!auth.allows(&HeaderMap::new()));
    }

    #[test]
    fn every_scheme_is_challenged_once() {
        let mut auth = auth();
        auth.accept("Bearer another").unwrap();
        let challenges: Vec<HeaderValue> = auth.challenges().collect();
        assert_eq!(challenges, ["Basic realm=\"pseudotcp\"", "Bearer realm=\"pseudotcp\""]);
    }

    #[test]
    fn d49_credentials_with_line_breaks_are_refused() {
        assert!(Auth::default().accept("Bearer a\r\nX-Evil: 1").is_err());
        assert!(Auth::default().accept("schemeonly").is_err());
    }

    #[test]
    fn secrets_are_not_printed() {
        let text = format!("{:?}", auth());
        assert!(!text.contains("secret") && !text.contains("dXNl"), "{text}");
    }
}
