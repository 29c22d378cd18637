//! Connect, ask, read the answer, close.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use clap::Args;
use futures::future::try_join_all;

use super::connection::Way;
use super::{Figures, now, percentiles};
use crate::serve::Wish;

/// The answer to a short request, in bytes.
const SHORT: u64 = 100;

/// Requests one after the other.
#[derive(Args)]
pub(crate) struct GetOptions {
    /// The bytes of an answer.
    #[arg(long)]
    bytes: u64,
    /// How many requests.
    #[arg(long)]
    count: usize,
}

/// Requests as fast as they go.
#[derive(Args)]
pub(crate) struct ChurnOptions {
    /// How many at once.
    #[arg(long)]
    parallel: usize,
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

/// How long each took.
pub(super) async fn get(way: &Way, options: &GetOptions) -> Result<Figures> {
    let mut times = Vec::with_capacity(options.count);
    for _ in 0..options.count {
        times.push(request(way, options.bytes).await?.answered);
    }
    Ok(percentiles(times))
}

/// How many were done each second, and how long each took to connect, and in all.
pub(super) async fn churn(way: &Way, options: &ChurnOptions) -> Result<Figures> {
    let start = now();
    let end = start + Duration::from_secs_f64(options.seconds);
    let workers = (0..options.parallel).map(|_| async {
        let mut times: Vec<Times> = Vec::new();
        while now() < end {
            times.push(request(way, SHORT).await?);
        }
        Ok::<_, anyhow::Error>(times)
    });
    let times: Vec<_> = try_join_all(workers).await?.into_iter().flatten().collect();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let count = times.len() as f64;
    let rate = count / start.elapsed().as_secs_f64();
    let mut figures =
        Figures::from([("per s".to_owned(), rate), ("connections".to_owned(), count)]);
    figures.extend(percentiles(times.iter().map(|times| times.answered).collect()));
    let connected = percentiles(times.iter().map(|times| times.connected).collect());
    figures.extend(connected.into_iter().map(|(name, value)| (format!("connect {name}"), value)));
    Ok(figures)
}

/// How long the parts of a request took, from its beginning.
struct Times {
    connected: Duration,
    answered: Duration,
}

async fn request(way: &Way, bytes: u64) -> Result<Times> {
    let mut buffer = vec![0; usize::try_from(bytes)?.min(256 * 1024)];
    let start = now();
    let mut connection = way.connect().await?;
    let connected = start.elapsed();
    connection.send(Bytes::copy_from_slice(&Wish::Send.request(bytes))).await?;
    connection.receive_exactly(usize::try_from(bytes)?, &mut buffer).await?;
    let answered = start.elapsed();
    connection.finish().await?;
    // As a kernel does for a closed socket: proxies count streams that are dropped halfway.
    tokio::spawn(async move { connection.drain(&mut buffer).await });
    Ok(Times { connected, answered })
}
