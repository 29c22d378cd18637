use std::error::Error;
use std::time::Duration;

use crate::Answer;

/// The boxed cause of a protocol failure, for logs; never a public type of a dependency.
pub type Source = Box<dyn Error + Send + Sync + 'static>;

/// What the proxy answered, where the cause is from an answer; part of every message.
pub type Said = Option<Box<Answer>>;

/// Why a flow could not be opened, named by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The target answered with a reset: nobody listens there.
    #[error("the target refused the connection{}", quote(.0))]
    Refused(Said),
    /// No way leads to the target's host.
    #[error("the target is unreachable{}", quote(.0))]
    Unreachable(Said),
    /// The far side has no IPv6 at all; the caller should try IPv4.
    #[error("the proxy has no IPv6{}", quote(.0))]
    NoIpv6(Said),
    /// The target's name does not resolve.
    #[error("the target's name does not resolve{}", quote(.0))]
    Unresolved(Said),
    /// The proxy could not connect and did not say why (a bare 502 or 503).
    #[error("the proxy could not connect to the target{}", quote(.0))]
    ConnectFailed(Said),
    /// The target did not answer in time.
    #[error("the target did not answer in time{}", quote(.0))]
    TimedOut(Said),
    /// The proxy's policy forbids the target.
    #[error("the proxy's policy forbids the target{}", quote(.0))]
    Denied(Said),
    /// The proxy wants other credentials.
    #[error("the proxy did not accept the credentials{}", quote(.0))]
    Unauthenticated(Said),
    /// The proxy has too much to do just now.
    #[error("the proxy is overloaded{}", quote(.said))]
    Overloaded {
        /// How long the proxy asked to wait.
        retry_after: Option<Duration>,
        /// What it answered.
        said: Said,
    },
    /// The proxy cannot be reached, or went away while the flow was opening.
    #[error("the proxy cannot be reached")]
    ProxyGone(#[source] Option<Source>),
    /// The proxy does not speak the protocol, or this use of it.
    #[error("protocol error while opening: {0}")]
    Protocol(#[source] Source),
}

impl OpenError {
    /// The proxy has too much to do, and says no more.
    pub fn overloaded() -> Self {
        Self::Overloaded { retry_after: None, said: None }
    }
}

/// What a message says of an answer.
fn quote(said: &Said) -> String {
    said.as_ref().map(|answer| format!(" (the proxy said: {answer})")).unwrap_or_default()
}

/// Why an open tunnel ended other than by a clean end of stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelError {
    /// The far side reset the flow, or ended it before all was delivered.
    #[error("the flow was reset by the far side")]
    Reset,
    /// The target of a datagram flow reported that it cannot be reached
    /// (`CONNECT_ERROR`, or a Proxy-Status in the trailers).
    #[error("the target reported that it is unreachable")]
    Unreachable,
    /// The connection to the proxy is gone, and with it the flow.
    #[error("the connection to the proxy was lost")]
    ProxyGone,
    /// The far side broke the protocol of this tunnel.
    #[error("protocol error in the tunnel: {0}")]
    Protocol(#[source] Source),
}
