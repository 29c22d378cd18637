//! `pseudotcp up`: sends what is routed into a TUN through a MASQUE proxy.

mod args;
mod capture;
mod client;
mod counters;
mod data_path;
mod device;
mod dns;
mod explain;
mod memory;
mod proxy_args;
mod rulebook;
mod shard;
mod sharding;
mod shards;
mod udp;

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ipnet::IpNet;
use pseudotcp_masque_h2::Proxies;
use tracing::warn;

pub(crate) use self::args::UpArgs;

use self::capture::Capture;
use self::data_path::DataPath;
use self::rulebook::RuleBook;
use self::sharding::Sharding;
use crate::clock;
use crate::output::{self, plural};
use crate::setup::linux::{HostSetup, Pinning, Wanted, Watch};
use crate::signals::Signals;

/// How long a shard's first connection to the proxy may take.
const READY: Duration = Duration::from_secs(10);

/// How long taking everything back may take.
const CLEAN_UP: Duration = Duration::from_secs(1);

/// Runs until told to stop.
pub(crate) fn run(args: Box<UpArgs>) -> Result<ExitCode> {
    args.logging.start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // A task among the others: the future that a runtime is started with has its turn too seldom.
    let task = runtime.spawn(async move { run_and_take_back(&args).await });
    let outcome = runtime.block_on(task)?;
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Whatever happens in between, what was set is taken back.
async fn run_and_take_back(args: &UpArgs) -> Result<()> {
    let mut signals = Signals::new().context("listening to signals")?;
    let rules = RuleBook::open(args)?;
    let mut setup = HostSetup::new()?;
    let outcome = run_until_stopped(args, rules, &mut setup, &mut signals).await;
    signals.exit_at_next_stop();
    if tokio::time::timeout(CLEAN_UP, setup.take_back()).await.is_err() {
        warn!("taking the routes back takes too long");
    }
    outcome
}

async fn run_until_stopped(
    args: &UpArgs,
    rules: RuleBook,
    setup: &mut HostSetup,
    signals: &mut Signals,
) -> Result<()> {
    // What a killed run has left keeps packets from leaking until this run's routes are there, unless
    // it keeps this run from the proxy, too.
    let serves = match client::literal_addresses(args) {
        Some(addresses) => setup.reaches(&addresses, args.mark).await,
        None => false,
    };
    if !serves {
        setup.take_back().await;
    }
    let reached = tokio::select! {
        reached = reach(args) => reached?,
        () = signals.stop() => return Ok(()),
    };
    // Short, and not to be cut off: what is set must be known to be taken back.
    let (clients, pinning) = (reached.clients.clone(), reached.pinning.clone());
    let data_path = open(args, rules, reached, setup).await?;
    let watch = Watch::new().context("watching the kernel's routes")?;
    let memory = data_path.manage_memory().await;
    tokio::select! {
        outcome = data_path.run(signals, args.logging.json_log) => outcome,
        never = setup.keep(watch, &pinning, || network_changed(&clients)) => match never {},
        never = memory => match never {},
    }
}

fn network_changed(clients: &[Proxies]) {
    clients.iter().for_each(Proxies::network_changed);
}

/// A proxy that takes flows.
struct Reached {
    sharding: Sharding,
    /// One for each shard.
    clients: Vec<Proxies>,
    addresses: Vec<IpAddr>,
    /// Asked for the ways to other addresses that they may have later.
    pinning: Pinning,
}

/// Reaches the proxy, before anything on this machine is changed.
async fn reach(args: &UpArgs) -> Result<Reached> {
    let pinning = Pinning::default();
    let sharding = Sharding::plan(args)?;
    let (clients, addresses) = client::configure(args, sharding.count, &pinning).await?;
    // The others connect when packets begin to move.
    if let Some(first) = clients.first() {
        let ready = first.ready(clock::deadline(READY)).await;
        ready.map_err(|error| explain::unreachable(&args.proxy.hops.join(" → "), error))?;
    }
    Ok(Reached { sharding, clients, addresses, pinning })
}

/// Opens the device and leads traffic into it.
async fn open(
    args: &UpArgs,
    rules: RuleBook,
    reached: Reached,
    setup: &mut HostSetup,
) -> Result<DataPath> {
    let capture = Capture::start(args.pcap.as_deref())?;
    let ways = setup.ways(&reached.addresses).await;
    let device = device::make(&args.device, &reached.sharding)?;
    let name = device.name.clone();
    let system = setup.servers_without_us();
    let dealer = reached.sharding.dealer();
    let shards = (device.queues, dealer, &reached.clients[..]);
    let data_path = DataPath::start(args, rules, shards, &capture, system)?;
    if let Some(name) = &name {
        let tun = setup.link(name).await?;
        let servers = dns::host_servers(args);
        let fake = dns::networks(&args.dns, device::has_ipv6(&args.device));
        let dns: Vec<IpNet> = servers.iter().copied().map(IpNet::from).chain(fake).collect();
        let networks = [&args.routes[..], &dns].concat();
        setup.apply(Wanted { tun, networks, mark: args.mark, ways }).await?;
        set_dns(setup, tun, servers).await?;
    }
    let name = name.as_deref().unwrap_or("the descriptor");
    let routes = plural(args.routes.len(), "route", "routes");
    output::say(&format!("ready, {name} → {}, {routes}", args.proxy.hops.join(" → ")));
    Ok(data_path)
}

/// Leads this machine's DNS into the TUN, where that is wanted and nobody else does.
async fn set_dns(setup: &mut HostSetup, tun: u32, servers: Vec<IpAddr>) -> Result<()> {
    if servers.is_empty() {
        return Ok(());
    }
    if let [other, ..] = setup.others() {
        warn!("pseudotcp runs here already (process {other}); this machine's DNS is left to it");
        return Ok(());
    }
    setup.set_dns(tun, servers).await
}
