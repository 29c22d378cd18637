//! Glue: packet ports and transports as Sink and Stream pipeline stages.
//!
//! ```text
//!  splice( tap( tun ),  fragments( guard( judge, stack( dns( resolve, route( judge, masque, direct ) ) ) ) ) )
//!          ╰──────── packet ports ─────────╯            ╰──────────────── transports ──────────────╯
//! ```
//!
//! Left of the stack everything is a [`PacketPort`]: a `Sink<Packet>` and `Stream` of packets. Right
//! of it everything is a [`Transport`](pseudotcp_masque::Transport). The [`stack`] is the only place
//! that sees both. Stages can be stacked, swapped and tested alone; [`splice`] moves the packets.
//!
//! What this crate deliberately does not do: it opens no device and no socket, and it spawns nothing.
//! The future that [`splice`] returns is the whole data path, that of [`dns::Service`] the way of the
//! questions to their resolvers; run them where you like, within a tokio runtime (for its timers).
#![forbid(unsafe_code)]
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod busy_poll;
mod clock;
mod dealer;
pub mod dns;
mod exchange;
mod fragments;
mod guard;
mod ipv6_watch;
mod judge;
mod limit;
mod port;
mod route;
mod splice;
pub mod stack;
mod tap;
mod timer;

pub use dealer::{Claim, Dealer, Steering};
pub use dns::Dns;
pub use exchange::{Exchange, ExchangeStats, Seat, seats};
pub use fragments::{Fragments, FragmentsStats};
pub use guard::{Guard, GuardStats};
pub use judge::{Judge, KnownName, Names, Owners, Replaced};
pub use limit::IcmpLimit;
pub use port::PacketPort;
pub use route::Route;
pub use splice::{Splice, splice};
pub use stack::Stack;
pub use tap::{Direction, Tap};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
