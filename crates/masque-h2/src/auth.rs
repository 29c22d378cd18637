//! What the client shows the proxy with every request: credentials and extra headers.

use std::fmt;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION};

use pseudotcp_masque::Source;

use crate::ConfigError;

/// Credentials for the proxy, sent as `Proxy-Authorization` (RFC 9110 §11.7.2).
///
/// `Debug` prints the scheme and never the secret.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Auth {
    /// `Basic` (RFC 7617): a user name without a colon, and a password.
    Basic {
        /// The user name.
        user: String,
        /// The password.
        password: String,
    },
    /// `Bearer` (RFC 6750).
    Bearer(String),
    /// `PrivacyToken token=…`, as relays of Fastly's make expect it.
    PrivacyToken(String),
    /// `PrivateToken token="…"` (RFC 9577): a token in base64url, good for one request only, so that
    /// it is best given by [`Credentials`].
    PrivateToken(String),
    /// Any other scheme, verbatim.
    Verbatim(String),
}

/// Gives credentials for each request: short-lived or single-use tokens.
///
/// ```
/// use async_trait::async_trait;
/// use pseudotcp_masque::Source;
/// use pseudotcp_masque_h2::{Auth, Config, Credentials};
///
/// struct Purse;
///
/// #[async_trait]
/// impl Credentials for Purse {
///     async fn fetch(&self, _challenge: Option<&str>) -> Result<Auth, Source> {
///         Ok(Auth::PrivateToken("one of many".into()))
///     }
/// }
///
/// let config = Config::new("https://proxy.example")?.credentials(Purse);
/// # Ok::<(), pseudotcp_masque_h2::ConfigError>(())
/// ```
#[async_trait]
pub trait Credentials: Send + Sync + 'static {
    /// Called before each request. Where the proxy has just refused others (401 or 407), `challenge`
    /// is its `WWW-Authenticate` or `Proxy-Authenticate`; this happens once for each flow, then the
    /// flow fails. An error fails the flow as unauthenticated, and is not told further.
    async fn fetch(&self, challenge: Option<&str>) -> Result<Auth, Source>;
}

impl Auth {
    /// The header's value.
    pub(crate) fn value(&self) -> Result<HeaderValue, ConfigError> {
        let text = match self {
            Self::Basic { user, .. } if user.contains(':') => return Err(ConfigError::User),
            Self::Basic { user, password } => {
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
            }
            Self::Bearer(token) => format!("Bearer {token}"),
            Self::PrivacyToken(token) => format!("PrivacyToken token={token}"),
            Self::PrivateToken(token) => format!("PrivateToken token=\"{token}\""),
            Self::Verbatim(value) => value.clone(),
        };
        secret(text.as_bytes(), &PROXY_AUTHORIZATION)
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic(…)",
            Self::Bearer(_) => "Bearer(…)",
            Self::PrivacyToken(_) => "PrivacyToken(…)",
            Self::PrivateToken(_) => "PrivateToken(…)",
            Self::Verbatim(_) => "Verbatim(…)",
        })
    }
}

/// The headers that go with every request; their values are all treated as secrets.
#[derive(Clone, Default)]
pub(crate) struct Headers(HeaderMap);

impl Headers {
    pub(crate) fn authorize(&mut self, auth: &Auth) -> Result<(), ConfigError> {
        self.0.insert(PROXY_AUTHORIZATION, auth.value()?);
        Ok(())
    }

    pub(crate) fn add(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| ConfigError::HeaderName)?;
        // RFC 9113 §8.2.2: these belong to HTTP/1.1 connections.
        if ["connection", "host", "transfer-encoding", "upgrade"].contains(&name.as_str()) {
            return Err(ConfigError::HeaderName);
        }
        let value = secret(value.as_bytes(), &name)?;
        self.0.append(name, value);
        Ok(())
    }

    pub(crate) fn append_to(&self, headers: &mut HeaderMap) {
        headers.extend(self.0.clone());
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// What of the fields of a request nobody may be told: their values without the names of schemes, and
/// what Basic encodes.
pub(crate) fn secrets(headers: &HeaderMap) -> Vec<String> {
    let mut secrets = Vec::new();
    for (name, value) in headers.iter().filter(|(_, value)| value.is_sensitive()) {
        let value = String::from_utf8_lossy(value.as_bytes());
        if [AUTHORIZATION, PROXY_AUTHORIZATION].contains(name) {
            let (scheme, rest) = value.split_once(' ').unwrap_or(("", &value));
            let parts = rest.split([' ', ',', '"']);
            secrets.extend(parts.map(|part| part.trim_start_matches("token=").to_owned()));
            let pair = STANDARD.decode(rest).ok().filter(|_| scheme == "Basic");
            let pair = pair.and_then(|pair| String::from_utf8(pair).ok());
            secrets.extend(pair.and_then(|pair| Some(pair.split_once(':')?.1.to_owned())));
        } else {
            secrets.push(value.into_owned());
        }
    }
    secrets.retain(|secret| !secret.is_empty());
    secrets
}

/// A value that HPACK never indexes and that `Debug` never prints.
fn secret(bytes: &[u8], name: &HeaderName) -> Result<HeaderValue, ConfigError> {
    let mut value = HeaderValue::from_bytes(bytes)
        .map_err(|_| ConfigError::HeaderValue { name: name.as_str().to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(auth: &Auth) -> String {
        let mut headers = Headers::default();
        headers.authorize(auth).unwrap();
        headers.0[PROXY_AUTHORIZATION].to_str().unwrap().to_owned()
    }

    #[test]
    fn each_scheme_in_its_own_words() {
        let basic = Auth::Basic { user: "Aladdin".into(), password: "open sesame".into() };
        assert_eq!(sent(&basic), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(sent(&Auth::Bearer("t0k".into())), "Bearer t0k");
        assert_eq!(sent(&Auth::PrivacyToken("t0k".into())), "PrivacyToken token=t0k");
        assert_eq!(sent(&Auth::PrivateToken("t0k=".into())), "PrivateToken token=\"t0k=\"");
        assert_eq!(sent(&Auth::Verbatim("DPoP t0k".into())), "DPoP t0k");
    }

    #[test]
    fn what_nobody_may_be_told() {
        let told = |auth: Auth| {
            let mut headers = Headers::default();
            headers.authorize(&auth).unwrap();
            secrets(&headers.0)
        };
        let basic = Auth::Basic { user: "Aladdin".into(), password: "open sesame".into() };
        assert_eq!(told(basic), ["QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "open sesame"]);
        assert_eq!(told(Auth::Bearer("t0k".into())), ["t0k"]);
        assert_eq!(told(Auth::PrivacyToken("t0k".into())), ["t0k"]);
        assert_eq!(told(Auth::PrivateToken("t0k=".into())), ["t0k="]);
        assert_eq!(told(Auth::Verbatim("t0k".into())), ["t0k"]);
        let mut headers = Headers::default();
        headers.add("x-device", "my own").unwrap();
        headers.0.insert("capsule-protocol", HeaderValue::from_static("?1"));
        assert_eq!(secrets(&headers.0), ["my own"]);
    }

    #[test]
    fn a_user_name_with_a_colon_would_read_otherwise() {
        let auth = Auth::Basic { user: "a:b".into(), password: "c".into() };
        assert!(matches!(Headers::default().authorize(&auth), Err(ConfigError::User)));
    }

    #[test]
    fn d49_line_breaks_in_values_are_refused() {
        let mut headers = Headers::default();
        for bad in ["a\r\nevil: 1", "a\nb", "a\rb", "a\0b"] {
            assert!(matches!(headers.add("x-id", bad), Err(ConfigError::HeaderValue { .. })));
            let bearer = Auth::Bearer(bad.into());
            assert!(matches!(headers.authorize(&bearer), Err(ConfigError::HeaderValue { .. })));
        }
        for bad in ["", "a b", "a\r\n", "Connection", "host"] {
            assert!(matches!(headers.add(bad, "v"), Err(ConfigError::HeaderName)));
        }
    }

    #[test]
    fn secrets_are_never_printed() {
        let mut headers = Headers::default();
        headers.add("x-client-secret", "hunter2").unwrap();
        for auth in [
            Auth::Basic { user: "u".into(), password: "hunter2".into() },
            Auth::Bearer("hunter2".into()),
            Auth::PrivacyToken("hunter2".into()),
            Auth::PrivateToken("hunter2".into()),
            Auth::Verbatim("hunter2".into()),
        ] {
            headers.authorize(&auth).unwrap();
            assert!(!format!("{auth:?} {headers:?} {:?}", headers.0).contains("hunter2"));
        }
    }
}
