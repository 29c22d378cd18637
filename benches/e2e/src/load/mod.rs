//! Load, from the client's namespace, over one of two ways: sockets, or a MASQUE client in this
//! process. The latter is the ceiling: the same proxy without a TUN before it.

mod bulk;
mod connection;
mod crowd;
mod datagrams;
mod latency;
mod requests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::lab::SERVER;
use crate::serve::PORT;

use self::connection::Way;
pub(crate) use self::datagrams::{Flood, LARGEST, open};

/// What was measured: names and values, the most telling first.
pub(crate) type Figures = Vec<(String, f64)>;

/// What the line with the figures begins with.
pub(crate) const FIGURES: &str = "figures: ";

/// Which load to make, and over which way.
#[derive(Args)]
pub(crate) struct Options {
    /// Go through this proxy, without any TUN.
    #[arg(long)]
    proxy: Option<String>,
    /// The proxy's certificate.
    #[arg(long, requires = "proxy")]
    pin: Option<PathBuf>,
    #[command(subcommand)]
    load: Load,
}

#[derive(Subcommand)]
enum Load {
    /// Bulk transfer over some streams.
    Bulk(bulk::Options),
    /// One request after the other, each over a new connection.
    Get(requests::GetOptions),
    /// As many short connections as possible.
    Churn(requests::ChurnOptions),
    /// Round trips of 64 bytes.
    Ping(latency::Options),
    /// Round trips of small datagrams.
    UdpPing(latency::UdpOptions),
    /// The highest rate of datagrams of which none is lost.
    UdpRate(datagrams::Options),
    /// Idle flows, until standard input ends.
    Crowd(crowd::Options),
}

/// Makes the load and prints its figures.
pub(crate) fn run(options: &Options) -> Result<()> {
    raise_descriptor_limit()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let figures = runtime.block_on(async {
        let way = Way::new(options.proxy.as_deref(), options.pin.as_deref()).await?;
        match &options.load {
            Load::Bulk(options) => bulk::run(&way, options).await,
            Load::Get(options) => requests::get(&way, options).await,
            Load::Churn(options) => requests::churn(&way, options).await,
            Load::Ping(options) => latency::run(&way, options).await,
            Load::UdpPing(options) => latency::run_udp(options),
            Load::UdpRate(options) => datagrams::run(options),
            Load::Crowd(options) => crowd::run(&way, options).await,
        }
    })?;
    println!("{FIGURES}{}", serde_json::to_string(&figures)?);
    Ok(())
}

/// The server.
fn server() -> SocketAddr {
    SocketAddr::new(SERVER.parse().expect("an address"), PORT)
}

/// The only look at the clock: everything here is about real time.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Median and 99th percentile in microseconds.
fn percentiles(mut times: Vec<Duration>) -> Figures {
    times.sort_unstable();
    let at = |share: usize| {
        let index = (times.len() * share / 100).min(times.len().saturating_sub(1));
        times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    };
    Figures::from([("p50 µs".to_owned(), at(50)), ("p99 µs".to_owned(), at(99))])
}

fn raise_descriptor_limit() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}
