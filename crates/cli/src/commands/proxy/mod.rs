//! `pseudotcp proxy`: serves as a small MASQUE proxy.

mod args;
mod config;

use std::io;
use std::process::ExitCode;
use std::thread;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pseudotcp_proxy::{Handle, MetricsServer, Server, Stats};
use tracing::{info, warn};

use self::config::Fixed;
use crate::failure::message;
use crate::output;
use crate::signals::{Signals, Wish};
use crate::workers::{self, Workers};

pub(crate) use self::args::ProxyArgs;

/// Serves until told to stop.
pub(crate) fn run(args: &ProxyArgs) -> Result<ExitCode> {
    let access = args.access_log.then(|| "access=info".parse()).transpose()?;
    args.logging.start_with(access);
    let fixed = Fixed::new(args)?;
    let cores = thread::available_parallelism().context("counting the cores")?;
    let workers = Workers::start(cores.get()).context("starting threads")?;
    let runtime = workers::runtime()?;
    let outcome = runtime.block_on(serve(args, &fixed, &workers));
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn serve(args: &ProxyArgs, fixed: &Fixed<'_>, workers: &Workers) -> Result<()> {
    let signals = Signals::new().context("listening to signals")?;
    let config = fixed.read()?;
    let pin = args.print_pin.then(|| pem(config.certificate_der()));
    let server = Server::bind(config, args.listen).await.map_err(|error| explain(args, error))?;
    let server = server.spread_over(workers.runtimes());
    let (stats, handle) = (server.stats(), server.handle());
    start_metrics(args, &stats).await?;
    output::print(&pin.unwrap_or_default());
    output::say(&format!("listening on https://{}", server.local_addr()));
    server.serve(stopped(signals, fixed, &handle, &stats)).await;
    show(&stats);
    Ok(())
}

/// Does what the operator wants until that is the end.
async fn stopped(mut signals: Signals, fixed: &Fixed<'_>, handle: &Handle, stats: &Stats) {
    loop {
        match signals.next().await {
            Wish::Show => show(stats),
            Wish::Reload => reload(fixed, handle),
            Wish::Stop => break,
        }
    }
    signals.exit_at_next_stop();
}

/// Reads the files again; where they are no good, what was read before stays.
fn reload(fixed: &Fixed<'_>, handle: &Handle) {
    match fixed.read() {
        Ok(config) => {
            handle.reload(config);
            info!("certificate, key, users and tokens were read again");
        }
        Err(error) => warn!("nothing was reloaded: {}", message(&error)),
    }
}

async fn start_metrics(args: &ProxyArgs, stats: &Stats) -> Result<()> {
    let Some(address) = args.metrics else { return Ok(()) };
    let metrics = MetricsServer::bind(stats, address).await;
    let metrics = metrics.with_context(|| format!("listening on {address} for --metrics"))?;
    output::say(&format!("counters at http://{}/metrics", metrics.local_addr()));
    tokio::spawn(metrics.serve());
    Ok(())
}

fn explain(args: &ProxyArgs, error: io::Error) -> anyhow::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use",
        io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "the address is not this machine's",
        _ => "it is not possible",
    };
    anyhow::Error::from(error).context(format!("listening on {}: {advice}", args.listen))
}

/// RFC 7468: base64 in lines of 64 characters between its marks.
fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn show(stats: &Stats) {
    output::show(&format!(
        "proxy   {} flows now, {} TCP, {} UDP, {} refused, {} bytes up, {} bytes down, \
         {} clients, {} handshakes failed\n",
        stats.open_tunnels(),
        stats.tcp_tunnels(),
        stats.udp_tunnels(),
        stats.requests_refused(),
        stats.bytes_to_targets(),
        stats.bytes_from_targets(),
        stats.connections(),
        stats.handshakes_failed(),
    ));
}
