//! Sans-IO UDP flow demultiplexer with bounded queues and idle expiry.
//!
//! ```text
//!                 ┌──────────────── refused (remembered for a second)
//!   datagram ▶ Opening ── accept ▶ Open ── close ▶ gone
//!                 │ buffers 8        │ queues 1,024     read  ▶ datagrams for the far side
//!                 └── idle, evicted ─┴──────────▶ gone  write ◀ datagrams for the app
//! ```
//!
//! ```
//! use std::time::Instant;
//!
//! use bytes::Bytes;
//! use pseudotcp_packet::build;
//! use pseudotcp_udp::{Config, Demux, Event};
//!
//! let now = Instant::now();
//! let mut demux = Demux::new(Config::default());
//! let (app, server) = ("10.0.0.1:5000".parse()?, "192.0.2.7:7".parse()?);
//! demux.handle_datagram(now, &build::datagram(app, server, Bytes::from("ping"), None).unwrap());
//!
//! let Some(Event::Opening { id, flow }) = demux.poll_event() else { panic!("a new flow") };
//! assert_eq!(flow.destination(), server); // somebody opens a way to it, and then:
//! demux.accept(now, id);
//! assert_eq!(demux.poll_event(), Some(Event::Readable { id }));
//! assert_eq!(demux.read(id).unwrap(), "ping");
//!
//! demux.write(now, id, Bytes::from("pong"));
//! assert_eq!(demux.poll_transmit().unwrap().body()[0], "pong");
//! # Ok::<(), std::net::AddrParseError>(())
//! ```
//!
//! # What a flow is
//!
//! A five-tuple: two destinations on one source port are two flows. In the terms of RFC 4787 both
//! the mapping (§4.1) and the filtering (§5) are address- and port-dependent, and the mapping is
//! refreshed by either direction (§4.3; [`Config::reply_refreshes`]). An owner that wants one mapping
//! for many peers, as a tunnel for many of them would give, can join flows of one source: ids, not
//! addresses, name them.
//!
//! # Limits
//!
//! Everything that waits is bounded by count and bytes, and what exceeds a limit is dropped and
//! counted ([`Stats`]); datagrams may be lost, never cut or merged. A queue drops its oldest
//! datagrams. Where all flows together hold too many bytes, the least recently used flow that holds
//! datagrams loses its oldest. Where there are too many flows, one goes: first those in which
//! nothing waits, then those that hold datagrams, each from the least recently used on. A flow is
//! used by a datagram of either direction (replies as configured) and by the read that empties it.
//!
//! # What this crate deliberately does not do
//!
//! It opens nothing, and has no policy. It takes and makes whole datagrams only: fragments count as
//! [`Stats::ignored`], and who wants to send replies larger than [`Config::mtu`] cuts them
//! ([`Config::fragment_replies`]).
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

mod config;
mod demux;
mod event;
mod flow;
mod idle;
mod order;
mod refused;
mod stats;
mod table;
mod train;

pub use config::Config;
pub use demux::Demux;
pub use event::{Event, FlowId, Refusal};
pub use stats::Stats;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
