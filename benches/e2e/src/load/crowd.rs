//! Many flows that say nothing.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use tokio::io::AsyncReadExt;

use super::connection::Way;
use super::{Figures, server};
use crate::serve::{ECHO, Wish};

/// How many, of which kind.
#[derive(Args)]
pub(crate) struct Options {
    kind: Kind,
    #[arg(long)]
    flows: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Tcp,
    Udp,
}

/// How long an answer may take before it is asked for again, and how often.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: usize = 10;

/// Opens them, says so, and keeps them until standard input ends.
pub(super) async fn run(way: &Way, options: &Options) -> Result<Figures> {
    let (mut connections, mut sockets) = (Vec::new(), Vec::new());
    for _ in 0..options.flows {
        match options.kind {
            Kind::Tcp => {
                let mut connection = way.connect().await?;
                connection.send(Bytes::copy_from_slice(&Wish::Take.request(0))).await?;
                connections.push(connection);
            }
            Kind::Udp => {
                sockets.push(answered()?);
            }
        }
    }
    println!("open");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(Figures::new())
}

/// A socket that has had an answer.
fn answered() -> Result<UdpSocket> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    for _ in 0..TRIES {
        socket.send(&[ECHO; 16])?;
        if socket.recv(&mut [0; 16]).is_ok() {
            return Ok(socket);
        }
    }
    bail!("no answer")
}
