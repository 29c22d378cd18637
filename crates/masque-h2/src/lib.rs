//! MASQUE client over HTTP/2: CONNECT and connect-udp through one corked TLS connection.
#![forbid(unsafe_code)]

mod auth;
mod client;
mod config;
mod state;
mod tls;

pub use auth::Auth;
pub use client::Client;
pub use config::{Config, ConfigError, Protect};
pub use state::{State, Stats};
