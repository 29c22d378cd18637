//! The access log: one event of the target `access` for each request, when it is over.

use std::fmt;
use std::net::SocketAddr;

use http::Uri;
use tokio::time::Instant;
use tracing::info;

use crate::refusal::Refusal;
use crate::tunnel::Ended;

/// A request that is being served.
pub(crate) struct Entry {
    client: SocketAddr,
    method: String,
    begun: Instant,
}

impl Entry {
    pub(crate) fn new(client: SocketAddr, method: &str) -> Self {
        Self { client, method: method.to_owned(), begun: Instant::now() }
    }

    /// The request was refused; `to` is where it would have gone, as far as that is known.
    pub(crate) fn refused(&self, to: impl fmt::Display, refusal: &Refusal) {
        let Self { client, method, .. } = self;
        let (status, error) = (refusal.status().as_u16(), refusal.error());
        info!(target: "access", %client, method, %to, status, error, seconds = self.seconds());
    }

    /// The tunnel has ended.
    pub(crate) fn ended(&self, to: impl fmt::Display, ended: &Ended) {
        let Self { client, method, .. } = self;
        let Ended { end, up, down } = ended;
        let seconds = self.seconds();
        info!(target: "access", %client, method, %to, ?end, up, down, seconds);
    }

    fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }
}

/// What a request names as it may be told: a userinfo can hold a password.
pub(crate) struct Told<'a>(pub(crate) &'a Uri);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        write!(f, "{host}{}", self.0.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_userinfo_is_not_told() {
        for (uri, told) in [
            ("user:hunter2@192.0.2.1:80", "192.0.2.1:80"),
            ("https://user:hunter2@proxy.test/path?x=hunter2", "proxy.test/path"),
            ("example.org:443", "example.org:443"),
        ] {
            assert_eq!(Told(&uri.parse().unwrap()).to_string(), told);
        }
    }
}
