//! Test support: an independent TCP/IP host, simulated links, worlds in virtual time, and a port
//! that loses packets.
//!
//! ```text
//!    World (virtual time, no I/O)                           real ports
//!  ┌──────┐  Link: delay, loss, …  ┌─────────────┐        ┌───────────────────────┐
//!  │ Node │ ─────────────────────▶ │ SmoltcpHost │        │ Faulty<P> (Sink+Stream)│
//!  │  (A) │ ◀───────────────────── │  (another   │        │  drop, duplicate,      │
//!  └──────┘                        │   Node)     │        │  reorder, corrupt ─▶ P │
//!                                  └─────────────┘        └───────────────────────┘
//! ```
//!
//! * [`SmoltcpHost`] is a host whose TCP, UDP and IP are smoltcp's, so that a test does not ask
//!   our code whether our code is right.
//! * [`Link`] is one direction of a wire; [`World`] joins two [`Node`]s by two links and moves
//!   time from event to event. A test that fails inside a world prints the last packets.
//! * [`Faulty`] wraps a packet port of the pipeline and mistreats what passes.
//! * [`script`] plays packet scripts: one rule each, as text, at exact times.
//! * [`seed`] names the run: every random choice follows from it, and it is printed.
//! * [`skip`] says why a test cannot run on this machine.
//!
//! ```
//! use std::time::Duration;
//! use pseudotcp_testkit::{HostConfig, LinkConfig, SmoltcpHost, TcpState, World, epoch, seed};
//!
//! let seed = seed();
//! let host = |address: &str| {
//!     SmoltcpHost::new(HostConfig::new(address.parse().unwrap()).with_seed(seed), epoch())
//! };
//! let (mut app, mut server) = (host("10.0.0.1"), host("10.0.0.2"));
//! let listening = server.listen("10.0.0.2:80".parse().unwrap());
//! let flow = app.connect("10.0.0.1:5000".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
//!
//! let lossy = LinkConfig::new(Duration::from_millis(10)).with_loss(0.05);
//! let mut world = World::new(app, server, lossy, seed);
//! let (mut is_asked, mut received) = (false, Vec::new());
//! let done = world.run(Duration::from_secs(60), |app, server, _now| {
//!     if !is_asked && app.state(flow) == TcpState::Established {
//!         app.send(flow, b"hello");
//!         is_asked = true;
//!     }
//!     received.extend_from_slice(&server.recv(listening, usize::MAX));
//!     received == b"hello"
//! });
//! assert!(done);
//! ```
//!
//! A test of an engine implements [`Node`] for a wrapper of it, in four one-line methods.
//!
//! Not published.
#![forbid(unsafe_code)]

mod device;
mod fault;
mod host;
mod link;
mod random;
pub mod script;
mod skip;
mod world;

pub use fault::{FaultCounts, Faults, Faulty};
pub use host::{HostConfig, SmoltcpHost, TcpId, TcpState, UdpId};
pub use link::{Link, LinkConfig, LinkStats};
pub use random::seed;
pub use skip::skip;
pub use world::{End, Node, World, epoch};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
