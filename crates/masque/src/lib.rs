//! The MASQUE transport trait, its tunnels, errors and wire codec.
//!
//! ```text
//!   OpenRequest ──▶ Transport::open_tcp ──▶ ByteTunnel      = Sink<Bytes> + Stream<Item = Result<Bytes, _>>
//!               ──▶ Transport::open_udp ──▶ DatagramTunnel  = the same, one item a datagram
//! ```
//!
//! A [`Transport`] opens flows to targets. The HTTP/2 client, the direct transport and the mock
//! are transports; so are wrappers that choose between or translate for others. They are shared
//! as `Arc<dyn Transport>`, nest freely and are chosen at run time.
//!
//! A transport that wraps another:
//!
//! ```
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use pseudotcp_masque::{ByteTunnel, DatagramTunnel, OpenError, OpenRequest, Transport};
//!
//! /// Nobody gets at port 25.
//! struct NoMail(Arc<dyn Transport>);
//!
//! #[async_trait]
//! impl Transport for NoMail {
//!     async fn open_tcp(&self, request: OpenRequest) -> Result<ByteTunnel, OpenError> {
//!         if request.target.port() == 25 {
//!             return Err(OpenError::Denied(None));
//!         }
//!         self.0.open_tcp(request).await
//!     }
//!
//!     async fn open_udp(&self, request: OpenRequest) -> Result<DatagramTunnel, OpenError> {
//!         self.0.open_udp(request).await
//!     }
//! }
//! ```
//!
//! What this crate deliberately does not do: no I/O, no packets, no HTTP. It holds what every
//! transport and every proxy need in common: the contract ([`Transport`], [`ByteTunnel`],
//! [`DatagramTunnel`]), the causes of failure ([`OpenError`] with
//! the proxy's [`Answer`], [`TunnelError`]), and the wire
//! formats of RFC 9297 ([`capsule`], [`datagram`]), connect-tcp ([`bytestream`]), RFC 9000 §16
//! ([`varint`]), RFC 9298 §2 ([`template`]) and RFC 9209 ([`proxy_status`]).
//!
//! Features: `conformance` adds the test suite that every transport must pass; `cork` the write
//! buffer that HTTP/2 connections want below them; `io` the way from tunnels to byte streams and back.
#![forbid(unsafe_code)]

mod answer;
pub mod bytestream;
pub mod capsule;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "cork")]
pub mod cork;
pub mod datagram;
mod error;
#[cfg(feature = "io")]
pub mod io;
pub mod proxy_status;
mod target;
pub mod template;
mod tunnel;
pub mod varint;

pub use answer::Answer;
pub use error::{OpenError, Said, Source, TunnelError};
pub use target::{InvalidTarget, OpenRequest, Target};
pub use tunnel::{
    AbortCode, ByteStream, ByteTunnel, DatagramStream, DatagramTunnel, MAX_CHUNK, Transport,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
