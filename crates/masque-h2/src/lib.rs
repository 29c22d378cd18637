//! MASQUE client over HTTP/2: CONNECT and connect-udp through one corked TLS connection.
//!
//! ```text
//!   Client ── open_tcp, open_udp ──▶ pool ──▶ dial: name, protected socket, TLS, ALPN h2, SETTINGS
//!      │                              │
//!      ▼                              ▼
//!   tunnels ◀── a queue each ◀── driver: the one task of a connection
//!   Sink + Stream                 reads ▸ moves to the queues ▸ answers ▸ writes all at once
//! ```
//!
//! ```no_run
//! use std::time::{Duration, Instant};
//!
//! use futures::{SinkExt, StreamExt};
//! use pseudotcp_masque::{OpenRequest, Target, Transport};
//! use pseudotcp_masque_h2::{Auth, Client, Config};
//!
//! # async fn example(now: Instant) -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new("https://proxy.example")?.auth(&Auth::Bearer("a token".into()))?;
//! let client = Client::new(config)?;
//! client.ready(now + Duration::from_secs(10)).await?;
//!
//! let mut tunnel = client.open_tcp(OpenRequest::new(Target::host("example.org", 80))).await?;
//! tunnel.send("GET / HTTP/1.0\r\nHost: example.org\r\n\r\n".into()).await?;
//! while let Some(chunk) = tunnel.next().await {
//!     print!("{}", String::from_utf8_lossy(&chunk?));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Back-pressure is HTTP/2's own: bytes that arrive are moved to their flow's queue at once, and the
//! proxy may send as many again only when the flow's owner has taken them. So a flow that is not
//! read costs its window, and never its neighbours. Towards the proxy a flow holds one item, and
//! asks for room only for what it holds.
//!
//! A proxy that knows HTTP/1.1 only gets a connection for each flow, one of which is dialled ahead.
//!
//! What this crate deliberately does not do: HTTP/3, packets.
#![forbid(unsafe_code)]

mod auth;
mod client;
mod config;
mod connection;
mod dial;
mod http1;
mod pool;
mod proxies;
mod request;
mod state;
mod tunnel;

pub use auth::{Auth, Credentials};
pub use client::Client;
pub use config::{Config, ConfigError, HalfClose, Protect, TcpDialect, UdpDialect};
pub use http1::{HeadError, ResponseHead};
pub use proxies::Proxies;
pub use state::{State, Stats};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
