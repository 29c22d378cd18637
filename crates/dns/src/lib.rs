//! Sans-IO DNS interception: question in, cached or upstream answer out.
//!
//! ```text
//!             handle_query                                     poll_query
//!  client ───────────────────▶ ┌──────────────────────────┐ ───────────────▶ upstream
//!                              │ check ─▶ cache ─▶ merge  │
//!  client ◀─────────────────── └──────────────────────────┘ ◀─────────────── upstream
//!              poll_answer             poll_timeout           handle_response
//! ```
//!
//! ```
//! use std::time::Instant;
//!
//! use pseudotcp_dns::{Asker, Carrier, Config, Interceptor};
//!
//! let now = Instant::now();
//! let mut dns = Interceptor::new(Config::default());
//! let question = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x07eXample\x03com\0\0\x01\0\x01";
//! let source = "192.0.2.1".parse().unwrap();
//! let asker = Asker { client: "some client", source, carrier: Carrier::Datagram };
//! dns.handle_query(now, asker, question);
//!
//! let query = dns.poll_query().expect("the cache is empty");
//! assert_eq!(query.message[..2], [0, 0]); // nothing of the client goes upstream
//! let mut response = query.message.to_vec();
//! response[2] |= 0x80; // the upstream would add records, too
//! dns.handle_response(now, query.id, &response);
//!
//! let answer = dns.poll_answer().unwrap();
//! assert_eq!(answer.client, "some client");
//! assert_eq!(answer.message[..2], question[..2]);
//! assert_eq!(answer.message[12..25], question[12..25]); // in the letters of the question
//! ```
//!
//! * [`Interceptor`] is the whole: questions of any number of clients in, each answered once.
//! * [`message`] reads what clients send, never panics, and gives every odd message its outcome:
//!   FORMERR, NOTIMP, REFUSED, BADVERS, or silence for what is no query at all. It also fits
//!   answers to questions: id, flags, letters, size.
//! * [`cache`] keeps answers as long as their TTLs allow, counted down.
//! * [`fake`] lends addresses to names, so that a flow can be opened by name elsewhere.
//! * [`upstream`] makes the messages that are sent on, checks what comes back, and shapes
//!   DNS-over-HTTPS requests (RFC 8484) as data.
//!
//! Whatever an upstream does, a client hears an answer: a failure, SERVFAIL, at the latest when
//! [`Config::timeout`] is over. Everything that waits is bounded.
//!
//! What this crate deliberately does not do: it opens nothing, chooses no resolver, and looks
//! nothing up that no client asked for. It does not validate DNSSEC; it passes the bits on.
//!
//! Messages are those of `hickory-proto`, re-exported as [`proto`].
//!
//! Features: none. MSRV: 1.95.
#![forbid(unsafe_code)]
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]

pub mod cache;
mod config;
mod extended;
pub mod fake;
mod intercept;
mod limit;
mod local;
pub mod message;
mod names;
pub mod upstream;

pub use config::Config;
pub use extended::ExtendedError;
pub use hickory_proto as proto;
pub use intercept::{Answer, Asker, Carrier, Interceptor, QueryId, Stats, UpstreamQuery};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
