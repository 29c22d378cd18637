//! Sans-IO TCP interposition engine: many flows between an app and somewhere else.
//!
//! ```text
//!                 handle_segment      ┌──────────────────────────────────────────┐   read
//!   app's packets ──────────────────▶ │ Receiver: in order, gaps, window         │ ─────────▶ somewhere
//!                                     │ State:    held SYN … TIME-WAIT, timers   │            else
//!   app's packets ◀────────────────── │ Sender:   unacknowledged bytes, recovery │ ◀───────── (a tunnel)
//!                 poll_transmit       └──────────────────────────────────────────┘   write
//!                     poll_event, poll_timeout      accept, refuse, finish, reset
//! ```
//!
//! Packets of many apps become ordered byte streams, and byte streams become packets again. The
//! [`Engine`] reads no clock and opens no socket: packets, commands and the time go in; packets,
//! events and the next deadline come out.
//!
//! ```
//! use std::time::Instant;
//!
//! use pseudotcp_packet::build::TcpSegment;
//! use pseudotcp_packet::{Body, FlowKey, Protocol, SeqNumber, TcpFlags, TcpOptions};
//! use pseudotcp_tcp::{Config, Engine, Event};
//!
//! let now = Instant::now();
//! let mut engine = Engine::new(Config::new(), [0; 16]); // 16 random bytes, that is
//! let app = "10.0.0.1:5000".parse()?;
//! let flow = FlowKey::new(Protocol::Tcp, app, "192.0.2.7:80".parse()?);
//! let (seq, options) = (SeqNumber::new(1), TcpOptions::default());
//! let syn = TcpSegment { flow, seq, ack: None, flags: TcpFlags::SYN, window: 9_000, options, segment_size: None };
//! engine.handle_segment(now, &syn.build(Body::default()));
//!
//! let Some(Event::Opening { id, flow }) = engine.poll_event() else { panic!("an app calls") };
//! assert_eq!(flow.source(), app); // somebody opens a way to flow.destination(), and then:
//! engine.accept(now, id);
//! let syn_ack = engine.poll_transmit(now).unwrap();
//! println!("{syn_ack}"); // 192.0.2.7:80 > 10.0.0.1:5000: tcp S. seq 2876543210 ack 2 win 65535 mss 1460 len 0
//! # Ok::<(), std::net::AddrParseError>(())
//! ```
//!
//! What holds at any time, whatever the apps send:
//!
//! * A SYN is answered only by [`accept`](Engine::accept) or [`refuse`](Engine::refuse), unless
//!   [`Config::early_accept`] says otherwise.
//! * Only bytes that the flow's bounded buffer holds are acknowledged, so an owner that does not
//!   [`read`](Engine::read) closes the app's window after one buffer.
//! * Nothing is sent past the app's window; what was sent is kept until it is acknowledged.
//! * All flows together buffer at most [`Config::budget`]; an idle one takes under 512 bytes.
//! * Where more than 16 apps send at once, windows above 64 KiB grow in turns, each of 256 KiB; it
//!   ends early where nothing is sent for 4 ms.
//! * A flow that is over emits nothing, and its last event is [`Event::Closed`].
//! * No timer is armed when nothing can time out.
//!
//! What it deliberately does not do: active opens and Fast Open. Deviations from
//! the RFCs are marked `DEVIATION` in the code.
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

mod assembler;
mod budget;
mod chunks;
mod clock;
mod config;
mod context;
mod engine;
mod event;
mod flow;
mod id;
mod isn;
mod refusals;
mod reply;
mod rtt;
mod segment;
mod send_buffer;
mod share;
mod stats;
mod table;
mod time_wait;
mod timer;
mod turn;

pub use config::{Config, CongestionControl};
pub use engine::Engine;
pub use event::{CloseCause, Event, Refusal};
pub use flow::state::State;
pub use id::FlowId;
pub use stats::{FlowInfo, Stats};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
