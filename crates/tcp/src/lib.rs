//! Sans-IO TCP interposition engine: many flows between an app and somewhere else.
#![forbid(unsafe_code)]

mod config;
mod engine;
mod event;
mod flow;
mod id;
mod stats;

pub use config::Config;
pub use engine::Engine;
pub use event::{CloseCause, Event, Refusal};
pub use flow::state::State;
pub use id::FlowId;
pub use stats::{FlowInfo, Stats};
