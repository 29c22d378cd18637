//! MASQUE client over HTTP/2: CONNECT and connect-udp through one corked TLS connection.
#![forbid(unsafe_code)]

mod auth;
mod client;
mod config;
mod connect;
mod datagram;
mod dial;
mod driver;
mod inbound;
mod link;
mod liveness;
mod meter;
mod pool;
mod state;
mod tls;
mod tunnel;

pub use auth::Auth;
pub use client::Client;
pub use config::{Config, ConfigError, Protect};
pub use state::{State, Stats};
