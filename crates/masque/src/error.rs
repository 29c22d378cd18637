use std::error::Error;
use std::time::Duration;

/// The boxed cause of a protocol failure, for logs; never a public type of a dependency.
pub type Source = Box<dyn Error + Send + Sync + 'static>;

/// Why a flow could not be opened, named by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The target answered with a reset: nobody listens there.
    #[error("the target refused the connection")]
    Refused,
    /// No way leads to the target's host.
    #[error("the target is unreachable")]
    Unreachable,
    /// The far side has no IPv6 at all; the caller should try IPv4.
    #[error("the proxy has no IPv6")]
    NoIpv6,
    /// The target's name does not resolve.
    #[error("the target's name does not resolve")]
    Unresolved,
    /// The proxy could not connect and did not say why (a bare 502 or 503).
    #[error("the proxy could not connect to the target (status {status})")]
    ConnectFailed {
        /// The HTTP status that the proxy sent.
        status: u16,
    },
    /// The target did not answer in time.
    #[error("the target did not answer in time")]
    TimedOut,
    /// The proxy's policy forbids the target.
    #[error("the proxy's policy forbids the target")]
    Denied,
    /// The proxy wants other credentials.
    #[error("the proxy did not accept the credentials")]
    Unauthenticated,
    /// The proxy has too much to do just now.
    #[error("the proxy is overloaded")]
    Overloaded {
        /// How long the proxy asked to wait.
        retry_after: Option<Duration>,
    },
    /// The proxy cannot be reached, or went away while the flow was opening.
    #[error("the proxy cannot be reached")]
    ProxyGone(#[source] Option<Source>),
    /// The proxy does not speak the protocol, or this use of it.
    #[error("protocol error while opening: {0}")]
    Protocol(#[source] Source),
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
