//! A small, correct MASQUE proxy over HTTP/2 and HTTP/1.1.
//!
//! ```text
//!              ┌─ session: TLS, HTTP ─────────┐   ┌─ tunnel ─────────────────────────────┐
//!   client ──▶ │ auth · request · limits      │──▶│ resolve · policy · dial ─▶ relay ─▶  │──▶ TCP target
//!          ◀── │ HTTP/2: many; HTTP/1.1: one  │◀──│ resolve · policy ─▶ capsules ─▶      │──▶ UDP target
//!              └──────────────────────────────┘   └──────────────────────────────────────┘
//! ```
//!
//! It speaks CONNECT (RFC 9110 §9.3.6), connect-tcp (draft-ietf-httpbis-connect-tcp), connect-udp
//! (RFC 9298) and its older draft, the method CONNECT-UDP (draft-ietf-masque-connect-udp-03), and it is
//! honest: a 200 means that the target has answered; a refusal names its cause in Proxy-Status
//! (RFC 9209); FIN and `END_STREAM`, RST and `RST_STREAM` mean the same on both sides; an ICMP error
//! ends a UDP tunnel with `CONNECT_ERROR`.
//!
//! ```
//! use pseudotcp_proxy::{Config, Server};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let config = Config::self_signed(["localhost", "127.0.0.1"])?.bearer("a secret")?;
//! let pin = config.certificate_der().to_vec(); // what clients trust
//! let server = Server::bind(config, "127.0.0.1:0".parse()?).await?;
//! println!("proxy at https://{}, certificate of {} bytes", server.local_addr(), pin.len());
//!
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! let stats = server.stats();
//! let serving = tokio::spawn(server.serve(async { drop(stopped.await) }));
//! // … clients come and go …
//! stop.send(()).unwrap();
//! serving.await?;
//! println!("{} tunnels served", stats.tcp_tunnels() + stats.udp_tunnels());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! What it deliberately does not do: HTTP/3, plain requests, caching, CONNECT-IP.
#![forbid(unsafe_code)]

mod access;
mod auth;
mod client;
mod clients;
mod config;
mod connect;
mod connect_udp;
mod credit;
mod error;
mod head;
mod identity;
mod idle;
mod limits;
mod metrics;
mod places;
mod policy;
mod refusal;
mod request;
mod resolve;
mod serve;
mod session;
mod stats;
mod tasks;
mod template;
mod tunnel;

pub use config::Config;
pub use error::ConfigError;
pub use metrics::MetricsServer;
pub use policy::{InvalidRule, Rule};
pub use serve::{Handle, Server};
pub use stats::Stats;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
