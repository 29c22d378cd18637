//! Round trips, alone or beside a bulk transfer.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use clap::Args;
use futures::future::try_join;

use super::bulk::{Direction, transfer};
use super::connection::{Connection, Way};
use super::{Figures, now, percentiles, server};
use crate::serve::{ECHO, Wish};

const SIZE: usize = 64;

/// Round trips over one connection.
#[derive(Args)]
pub(crate) struct Options {
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// What else goes on meanwhile, over a second connection.
    #[arg(long)]
    beside: Option<Direction>,
}

/// Round trips of datagrams.
#[derive(Args)]
pub(crate) struct UdpOptions {
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

/// How long round trips take.
pub(super) async fn run(way: &Way, options: &Options) -> Result<Figures> {
    let mut connection = way.connect().await?;
    connection.send(Bytes::copy_from_slice(&Wish::Echo.request(0))).await?;
    let end = now() + Duration::from_secs_f64(options.seconds);
    let Some(direction) = options.beside else {
        return Ok(percentiles(pings(&mut connection, options.seconds).await?));
    };
    let bulk = way.connect().await?;
    let both = try_join(pings(&mut connection, options.seconds), transfer(bulk, direction, end));
    Ok(percentiles(both.await?.0))
}

async fn pings(connection: &mut Connection, seconds: f64) -> Result<Vec<Duration>> {
    let (ping, mut buffer) = (Bytes::from_static(&[b'p'; SIZE]), [0; SIZE]);
    let end = now() + Duration::from_secs_f64(seconds);
    let mut times = Vec::new();
    while now() < end {
        let start = now();
        connection.send(ping.clone()).await?;
        connection.receive_exactly(SIZE, &mut buffer).await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// How long round trips of datagrams take, one at a time.
pub(super) fn run_udp(options: &UdpOptions) -> Result<Figures> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server())?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let end = now() + Duration::from_secs_f64(options.seconds);
    let (mut times, mut buffer) = (Vec::new(), [0; SIZE]);
    while now() < end {
        let start = now();
        socket.send(&[ECHO; SIZE])?;
        ensure!(socket.recv(&mut buffer)? == SIZE, "another datagram came back");
        times.push(start.elapsed());
    }
    Ok(percentiles(times))
}
