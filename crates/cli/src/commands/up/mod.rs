//! `pseudotcp up`: sends what is routed into a TUN through a MASQUE proxy.

mod args;
mod capture;
mod client;
mod counters;
mod data_path;
mod device;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pseudotcp_masque::OpenError;
use pseudotcp_masque_h2::{Client, State};
use pseudotcp_tun::TunPort;
use tokio::sync::watch;
use tracing::{info, warn};

pub(crate) use self::args::UpArgs;

use self::capture::Capture;
use self::data_path::DataPath;
use crate::clock;
use crate::failure;
use crate::setup::linux::{HostSetup, Wanted, Way};
use crate::signals::Signals;

/// How long the first connection to the proxy may take.
const READY: Duration = Duration::from_secs(10);

/// How long taking everything back may take.
const CLEAN_UP: Duration = Duration::from_secs(1);

/// Runs until told to stop.
pub(crate) fn run(args: &UpArgs) -> Result<ExitCode> {
    args.logging.start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(run_and_take_back(args));
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Whatever happens in between, what was set is taken back.
async fn run_and_take_back(args: &UpArgs) -> Result<()> {
    let mut signals = Signals::new().context("listening to signals")?;
    let mut setup = HostSetup::new().context("opening a netlink socket")?;
    let outcome = run_until_stopped(args, &mut setup, &mut signals).await;
    signals.exit_at_next_stop();
    if tokio::time::timeout(CLEAN_UP, setup.take_back()).await.is_err() {
        warn!("taking the routes back takes too long");
    }
    outcome
}

async fn run_until_stopped(
    args: &UpArgs,
    setup: &mut HostSetup,
    signals: &mut Signals,
) -> Result<()> {
    let started = tokio::select! {
        started = start(args, setup) => Some(started?),
        () = signals.stop() => None,
    };
    match started {
        Some(mut data_path) => data_path.run(signals, args.logging.json_log).await,
        None => Ok(()),
    }
}

/// Reaches the proxy, then opens the device, then leads traffic into it.
async fn start(args: &UpArgs, setup: &mut HostSetup) -> Result<DataPath> {
    let (config, addresses) = client::configure(args).await?;
    let capture = Capture::start(args.pcap.as_deref())?;
    let client = Client::new(config).map_err(|error| failure::usage(error.to_string()))?;
    tokio::spawn(log_state(client.state()));
    client.ready(clock::deadline(READY)).await.map_err(|error| explain(args, error))?;
    let ways = setup.ways(&addresses).await;
    let tun = device::open(&args.device)?;
    let (name, tun_name) = (describe(&tun), tun.name().map(str::to_owned));
    let data_path = DataPath::new(args, tun, capture, client)?;
    if let Some(tun_name) = tun_name {
        lead_into(&tun_name, args, setup, ways).await?;
    }
    println!("pseudotcp: ready, {name} → {}, {}", args.proxy, plural(args.routes.len(), "route"));
    Ok(data_path)
}

/// Logs how the client stands to its proxy, whenever that changes, as long as there is a client.
async fn log_state(mut state: watch::Receiver<State>) {
    while state.changed().await.is_ok() {
        match &*state.borrow_and_update() {
            state @ (State::Reconnecting | State::Failed { .. }) => warn!("the proxy: {state}"),
            state => info!("the proxy: {state}"),
        }
    }
}

async fn lead_into(tun: &str, args: &UpArgs, setup: &mut HostSetup, ways: Vec<Way>) -> Result<()> {
    let link = setup.link(tun).await?;
    let networks = args.routes.clone();
    setup.apply(&Wanted { tun: link, networks, mark: args.mark, ways }).await
}

fn describe(tun: &TunPort) -> String {
    tun.name().map_or_else(|| "the descriptor".to_owned(), str::to_owned)
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("{count} {noun}") } else { format!("{count} {noun}s") }
}

/// Says what to do about a proxy that cannot be used.
fn explain(args: &UpArgs, error: OpenError) -> anyhow::Error {
    let proxy = &args.proxy;
    let error = anyhow::Error::from(error);
    let causes: String = error.chain().map(|cause| format!("{cause} ")).collect();
    let advice = if causes.contains("certificate") {
        format!(
            "the certificate of {proxy} is not trusted; name its certificate with --pin FILE, or \
             its authority with --ca FILE"
        )
    } else if causes.contains("refused") {
        format!("{proxy} refuses connections; is the proxy running, is the port right?")
    } else {
        format!("{proxy} cannot be reached as a proxy")
    };
    error.context(advice)
}
