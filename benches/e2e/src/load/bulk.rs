//! Bulk transfer.

use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use futures::future::try_join_all;
use pseudotcp_masque::MAX_CHUNK;

use super::connection::{Connection, Way};
use super::{Figures, now};
use crate::serve::Wish;

/// How much, and which way.
#[derive(Args)]
pub(crate) struct Options {
    pub(crate) direction: Direction,
    #[arg(long, default_value_t = 1)]
    pub(crate) streams: usize,
    #[arg(long, default_value_t = 2.0)]
    pub(crate) seconds: f64,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    Down,
    Up,
}

/// Moves bytes for a while; what counts is what has arrived.
pub(super) async fn run(way: &Way, options: &Options) -> Result<Figures> {
    let connections = (0..options.streams).map(|_| way.connect());
    let connections = try_join_all(connections).await?;
    let start = now();
    let end = start + Duration::from_secs_f64(options.seconds);
    let streams = connections.into_iter().map(|stream| transfer(stream, options.direction, end));
    let bytes: u64 = try_join_all(streams).await?.into_iter().sum();
    let seconds = start.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let bytes = bytes as f64;
    let rate = bytes * 8.0 / seconds / 1e9;
    Ok(Figures::from([("Gbit/s".to_owned(), rate), ("bytes".to_owned(), bytes)]))
}

/// Moves bytes over one connection until `end`; returns how many have arrived.
pub(super) async fn transfer(
    mut stream: Connection,
    direction: Direction,
    end: Instant,
) -> Result<u64> {
    let mut buffer = vec![0; 256 * 1024];
    let mut sum = 0;
    match direction {
        Direction::Down => {
            stream.send(Bytes::copy_from_slice(&Wish::Send.request(u64::MAX))).await?;
            while now() < end {
                sum += stream.receive(&mut buffer).await? as u64;
            }
        }
        Direction::Up => {
            stream.send(Bytes::copy_from_slice(&Wish::Take.request(0))).await?;
            let chunk = Bytes::from(vec![0x5a; MAX_CHUNK]);
            while now() < end {
                stream.send(chunk.clone()).await?;
                sum += chunk.len() as u64;
            }
            stream.finish().await?;
            stream.drain(&mut buffer).await?;
        }
    }
    Ok(sum)
}
