//! Asks DNS servers through a transport: by HTTPS, TLS or plainly, with failover and hedging.
//!
//! ```text
//!  question ──▶ Resolver ──┬─ names below a suffix ──▶ its own servers
//!                          └─ all other names ───────▶ servers in their order
//!                                                       │ healthy ones first; the next one too
//!                                                       ▼ when an answer takes too long
//!                     Transport ◀── DoH (HTTP/2) · DoT · UDP, and TCP for what is truncated
//! ```
//!
//! Everything goes through the [`Transport`](pseudotcp_masque::Transport): nothing is sent beside it,
//! and where servers are named by addresses no name has to be looked up first. A connection is made
//! when the first question needs it, kept warm, and made anew when it was lost. Nothing is asked that
//! the caller did not ask.
//!
//! Questions and answers are DNS messages as `pseudotcp-dns` makes and checks them. What this crate
//! deliberately does not do: it caches nothing, and follows no delegation.
//!
//! Features: none. MSRV: 1.95.
#![forbid(unsafe_code)]

mod chain;
mod doh;
mod error;
mod health;
mod multiplex;
mod plain;
mod resolver;
mod server;
mod tls;
mod upstream;

pub use error::{ConfigError, ExchangeError};
pub use resolver::{Config, Resolver};
pub use server::{Protocol, Server, ServerError};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
