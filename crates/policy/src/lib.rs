//! Pure policy decisions: what is known of a flow in, verdict out.
//!
//! ```text
//!   Question ──▶ rule 0 ──▶ rule 1 ──▶ … ──▶ otherwise
//!                   └──────────┴──────────────────┴──▶ Decision { verdict, rule }
//! ```
//!
//! ```
//! use pseudotcp_packet::{FlowKey, Protocol};
//! use pseudotcp_policy::{Rule, Rules, Verdict, defaults};
//!
//! let rules = Rules::builder()
//!     .rule(Rule::new(Verdict::Direct).destinations(["192.168.7.0/24".parse()?]))
//!     .rule(defaults::reject_private())
//!     .rule(defaults::reject_dns_over_tls())
//!     .rule(Rule::new(Verdict::Drop).protocol(Protocol::Udp).ports([137..=139]))
//!     .build();
//!
//! let (app, server) = ("10.0.0.1:5000".parse()?, "192.168.7.9:80".parse()?);
//! let decision = rules.decide(FlowKey::new(Protocol::Tcp, app, server));
//! assert_eq!((decision.verdict, decision.rule), (Verdict::Direct, Some(0)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a decision costs
//!
//! Rules are ordered, and the first one that matches decides, but they are not tried one by one. A
//! rule is filed by the blocks and names of its destination, or else by those of its source; a look
//! finds the innermost block that holds the address, goes outwards from there, and asks only the
//! rules that it meets. So 100,000 blocks cost well under a microsecond, in one rule or in as many rules.
//! Rules that name neither addresses nor names are tried in turn.
//!
//! What this crate deliberately does not do: it touches no packet and no socket, and looks nothing
//! up; who asks says what is known. Rejecting and dropping is for the stage that sees packets,
//! choosing between proxy and direct for the one that opens flows.
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

mod cidr_set;
pub mod defaults;
mod index;
mod name;
mod policy;
mod question;
mod ranges;
mod rule;
mod rules;
pub mod sets;
pub mod text;
mod verdict;

pub use cidr_set::CidrSet;
pub use ipnet::IpNet;
pub use name::{InvalidName, NamePattern};
pub use policy::{Ipv6, Policy, ProxyState, Quic};
pub use question::{IpVersion, Owner, Question};
pub use rule::Rule;
pub use rules::{Rules, RulesBuilder};
pub use verdict::{Decision, Limit, RejectKind, Verdict};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
