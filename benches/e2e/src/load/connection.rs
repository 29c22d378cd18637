//! A TCP connection to the server, by a socket or by a tunnel.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use pseudotcp_masque::{ByteTunnel, OpenRequest, Transport};
use pseudotcp_masque_h2::{Client, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{now, server};

/// How connections are made.
pub(super) enum Way {
    Sockets,
    Proxy(Client),
}

impl Way {
    /// Sockets, or a client of a proxy that is ready.
    pub(super) async fn new(proxy: Option<&str>, pin: Option<&Path>) -> Result<Self> {
        let Some(proxy) = proxy else { return Ok(Self::Sockets) };
        let pin = std::fs::read(pin.context("a proxy needs a pin")?)?;
        let client = Client::new(Config::new(proxy)?.pin(&pin)?)?;
        client.ready(now() + Duration::from_secs(10)).await?;
        Ok(Self::Proxy(client))
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Connection> {
        match self {
            Self::Sockets => {
                let stream = TcpStream::connect(server()).await?;
                stream.set_nodelay(true)?;
                Ok(Connection::Socket(stream))
            }
            Self::Proxy(client) => {
                Ok(Connection::Tunnel(client.open_tcp(OpenRequest::new(server())).await?))
            }
        }
    }
}

/// One connection.
pub(super) enum Connection {
    Socket(TcpStream),
    Tunnel(ByteTunnel),
}

impl Connection {
    /// Sends all of `bytes`.
    pub(super) async fn send(&mut self, bytes: Bytes) -> Result<()> {
        match self {
            Self::Socket(stream) => Ok(stream.write_all(&bytes).await?),
            Self::Tunnel(tunnel) => Ok(tunnel.send(bytes).await?),
        }
    }

    /// Receives something, into `buffer` if a buffer is needed at all; 0 is the end.
    pub(super) async fn receive(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::Socket(stream) => Ok(stream.read(buffer).await?),
            Self::Tunnel(tunnel) => match tunnel.next().await {
                Some(chunk) => Ok(chunk?.len()),
                None => Ok(0),
            },
        }
    }

    /// Receives exactly so many bytes.
    pub(super) async fn receive_exactly(
        &mut self,
        mut rest: usize,
        buffer: &mut [u8],
    ) -> Result<()> {
        while rest > 0 {
            match self.receive(buffer).await? {
                0 => bail!("the connection ended early"),
                length => rest = rest.saturating_sub(length),
            }
        }
        Ok(())
    }

    /// Receives to the end; how many bytes came.
    pub(super) async fn drain(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut sum = 0;
        loop {
            match self.receive(buffer).await? {
                0 => return Ok(sum),
                length => sum += length,
            }
        }
    }

    /// End of stream.
    pub(super) async fn finish(&mut self) -> Result<()> {
        match self {
            Self::Socket(stream) => Ok(stream.shutdown().await?),
            Self::Tunnel(tunnel) => Ok(tunnel.close().await?),
        }
    }
}
