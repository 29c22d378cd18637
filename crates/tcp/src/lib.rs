//! Sans-IO TCP interposition engine: many flows between an app and somewhere else.
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
mod reply;
mod rtt;
mod segment;
mod send_buffer;
mod stats;
mod table;
mod time_wait;
mod timer;

pub use config::Config;
pub use engine::Engine;
pub use event::{CloseCause, Event, Refusal};
pub use flow::state::State;
pub use id::FlowId;
pub use stats::{FlowInfo, Stats};
