//! Pure policy decisions: flow key in, verdict out.
//!
//! ```text
//!   FlowKey ──▶ rule 0 ──▶ rule 1 ──▶ … ──▶ otherwise
//!                  └──────────┴──────────────────┴──▶ Decision { verdict, rule }
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
//! let decision = rules.decide(&FlowKey::new(Protocol::Tcp, app, server));
//! assert_eq!((decision.verdict, decision.rule), (Verdict::Direct, Some(0)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Rules are ordered, and the first one that matches decides. A rule costs what its cheapest failing
//! condition costs; a list of blocks, however long, is one binary search. So thousands of blocks
//! belong into one rule, not into thousands of rules.
//!
//! What this crate deliberately does not do: it touches no packet and no socket. Rejecting and
//! dropping is for the stage that sees packets, choosing between proxy and direct for the one that
//! opens flows.
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
mod ranges;
mod rules;
mod verdict;

pub use cidr_set::CidrSet;
pub use ipnet::IpNet;
pub use rules::{IpVersion, Rule, Rules, RulesBuilder};
pub use verdict::{Decision, RejectKind, Verdict};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
