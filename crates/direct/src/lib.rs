//! Transport without a proxy: plain, protected sockets of this machine.
//!
//! ```text
//!   open_tcp(request) ──▶ resolve ──▶ socket ──▶ protect(socket) ──▶ connect ──▶ ByteTunnel
//!   open_udp(request) ──▶ resolve ──▶ socket ──▶ protect(socket) ──▶ connect ──▶ DatagramTunnel
//! ```
//!
//! Used for what shall not go through a proxy (split tunnel), and to measure what the proxy costs.
//! No task and no thread per flow: a tunnel reads and writes its socket when it is polled.
//!
//! ```
//! use futures::{SinkExt, StreamExt};
//! use pseudotcp_direct::{Config, Direct};
//! use pseudotcp_masque::{OpenRequest, Transport};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let address = listener.local_addr()?;
//! # tokio::spawn(async move {
//! #     let (mut reader, mut writer) = listener.accept().await?.0.into_split();
//! #     tokio::io::copy(&mut reader, &mut writer).await
//! # });
//! let direct = Direct::new(Config::default().with_protect(|socket| socket.set_keepalive(true)));
//! let mut tunnel = direct.open_tcp(OpenRequest::new(address)).await?;
//! tunnel.send("hello".into()).await?;
//! tunnel.close().await?; // half-close: the other direction goes on
//! while let Some(chunk) = tunnel.next().await {
//!     println!("{:?}", chunk?);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What it deliberately does not do: no happy eyeballs (a name's addresses are tried in turn), no
//! caching of names, no proxy.
#![forbid(unsafe_code)]

mod bytes;
mod cause;
mod config;
mod datagrams;
mod dial;

use async_trait::async_trait;
use pseudotcp_masque::{ByteTunnel, DatagramTunnel, OpenError, OpenRequest, Transport};

pub use config::Config;

/// Opens flows with the sockets of this machine.
#[derive(Debug, Default)]
pub struct Direct {
    config: Config,
}

impl Direct {
    /// A transport whose sockets are prepared as `config` says.
    pub fn new(config: Config) -> Self {
        Self { config }
    }
}

#[async_trait]
impl Transport for Direct {
    async fn open_tcp(&self, request: OpenRequest) -> Result<ByteTunnel, OpenError> {
        let stream = dial::within_deadline(&self.config, &request, dial::tcp).await?;
        Ok(Box::new(bytes::SocketBytes::new(stream)))
    }

    async fn open_udp(&self, request: OpenRequest) -> Result<DatagramTunnel, OpenError> {
        let socket = dial::within_deadline(&self.config, &request, dial::udp).await?;
        Ok(Box::new(datagrams::SocketDatagrams::new(socket)))
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
