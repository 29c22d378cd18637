use std::io;

use pseudotcp_masque::{OpenError, Source};

/// Why a server gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// No way leads to the server.
    #[error("the server cannot be reached: {0}")]
    Unreachable(#[source] OpenError),
    /// The connection to the server was lost, or TLS failed.
    #[error("the connection to the server failed: {0}")]
    Connection(#[source] io::Error),
    /// The server breaks HTTP, or answers with another status than 200.
    #[error("the server does not speak DNS over HTTPS: {0}")]
    Http(#[source] Source),
    /// The server refused, failed, or answered something else.
    #[error("the server has no answer")]
    NoAnswer,
    /// The server did not answer in time.
    #[error("the server did not answer in time")]
    TimedOut,
}

/// Why a resolver cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A certificate cannot be read.
    #[error("no certificate can be read")]
    Certificate,
    /// A suffix is no domain name.
    #[error("{suffix:?} is no domain name")]
    Suffix {
        /// As it was given.
        suffix: String,
    },
    /// TLS cannot be set up, for instance because the platform has no root certificates.
    #[error("TLS cannot be set up")]
    Tls(#[source] Source),
}
