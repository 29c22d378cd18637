//! Choices that a configuration offers.

/// How TCP flows are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TcpDialect {
    /// CONNECT, and connect-tcp where the proxy answers that with 501 (or 426).
    #[default]
    Auto,
    /// CONNECT (RFC 9110 §9.3.6).
    Connect,
    /// connect-tcp (draft-ietf-httpbis-connect-tcp), which tells an end from a truncation.
    ConnectTcp,
}

/// How UDP flows are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UdpDialect {
    /// RFC 9298, and the older draft where the proxy does not know that.
    #[default]
    Auto,
    /// connect-udp (RFC 9298).
    Rfc9298,
    /// The method CONNECT-UDP (draft-ietf-masque-connect-udp-03), as older relays speak it.
    Draft03,
}

/// What becomes of an app's end of stream while its target still sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HalfClose {
    /// `Defer` for proxies that are known to need it, by their `server` and `via` fields; else
    /// `Forward`.
    #[default]
    Auto,
    /// The proxy is told at once.
    Forward,
    /// The proxy is told when the target has ended too: for proxies that would end both ways, so
    /// that the answer would be lost. A target that waits for the end then waits in vain.
    Defer,
}
