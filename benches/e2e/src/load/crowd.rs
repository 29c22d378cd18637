//! Many flows that say nothing.

use std::net::UdpSocket;

use anyhow::Result;
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
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                socket.connect(server())?;
                socket.send(&[ECHO; 16])?;
                socket.recv(&mut [0; 16])?;
                sockets.push(socket);
            }
        }
    }
    println!("open");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(Figures::new())
}
