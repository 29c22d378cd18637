//! The way of the packets: the shards, and what they share.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use pseudotcp_direct::Direct;
use pseudotcp_masque::Transport;
use pseudotcp_masque_h2::Proxies;
use pseudotcp_pipeline::{Dealer, Judge, Route, seats};

use super::args::UpArgs;
use super::capture::Capture;
use super::counters::Counters;
use super::device::Queue;
use super::rulebook::RuleBook;
use super::shard::{Place, Shard};
use super::shards::Shards;
use super::{device, dns, memory};
use crate::output::{self, plural};
use crate::signals::{Signals, Wish};

/// Everything between the device and the proxies.
pub(super) struct DataPath {
    shards: Shards,
    rules: RuleBook,
    dns: Option<dns::Stage>,
}

impl DataPath {
    /// Puts the stages together, in a shard for each queue and client. Packets begin to move.
    pub(super) fn start(
        args: &UpArgs,
        rules: RuleBook,
        (queues, dealer, clients): (Vec<Queue>, Arc<Dealer>, &[Proxies]),
        capture: &Capture,
        system: Vec<IpAddr>,
    ) -> Result<Self> {
        let ways = Ways::new(args, rules.judge(), clients);
        let dns = dns::stage(&args.dns, rules.names(), ways.footing(args, rules.judge(), system))?;
        let seats = seats(&dealer).into_iter().zip(seats(&dealer));
        let parts = queues.into_iter().zip(seats).zip(clients).zip(ways.apps);
        let makers = parts.map(|(((queue, seats), client), way)| {
            let transport = dns.as_ref().map_or(Arc::clone(&way), |stage| stage.before(way));
            let (judge, client, capture) = (rules.judge().clone(), client.clone(), capture.clone());
            let (dealer, (pieces, whole)) = (Arc::clone(&dealer), seats);
            let place = Place { dealer, pieces, whole };
            move || Shard::new(args, (queue.open()?, capture), place, judge, client, transport)
        });
        let shards = Shards::start(makers.collect())?;
        Ok(Self { shards, rules, dns })
    }

    /// Keeps memory while there is traffic, and gives it back. Never ends.
    pub(super) async fn manage_memory(&self) -> impl Future<Output = Infallible> + use<> {
        memory::manage(self.shards.visit(|shard| shard.crowd()).await)
    }

    /// Waits until the operator wants the end, or the device is gone; shows the counters then, and when
    /// asked.
    pub(super) async fn run(mut self, signals: &mut Signals, as_json: bool) -> Result<()> {
        let outcome = loop {
            tokio::select! {
                ended = self.shards.ended() => break ended,
                wish = signals.next() => match wish {
                    Wish::Stop => break Ok(()),
                    Wish::Show => self.show(as_json).await,
                    Wish::Reload => self.reload().await,
                },
            }
        };
        self.show(as_json).await;
        if let Some(stage) = &self.dns {
            stage.save();
        }
        self.shards.stop().await;
        outcome.context("the device is gone")
    }

    /// Puts the policy in force that the files hold now, and ends the flows that it does not allow.
    async fn reload(&self) {
        let Some(replaced) = self.rules.reload().map(Arc::new) else { return };
        let retain = move |shard: &mut Shard| shard.retain(|flow| replaced.allows(flow));
        let ended = self.shards.visit(retain).await.into_iter().sum();
        output::say(&format!("policy replaced, {}", plural(ended, "flow ended", "flows ended")));
    }

    async fn show(&self, as_json: bool) {
        let shards = self.shards.visit(|shard| Counters::read(shard)).await;
        let counters: Counters = shards.into_iter().sum();
        let stage = self.dns.as_ref().map(|stage| &stage.dns);
        stage.into_iter().fold(counters, Counters::with_dns).show(as_json);
    }
}

/// The ways that flows may take.
struct Ways {
    /// Those of the apps of each shard.
    apps: Vec<Arc<dyn Transport>>,
    /// That of our own flows, and that past the proxy.
    ours: Arc<dyn Transport>,
    direct: Arc<dyn Transport>,
}

impl Ways {
    fn new(args: &UpArgs, judge: &Judge, clients: &[Proxies]) -> Self {
        let config = pseudotcp_direct::Config::default();
        let config = args.mark.into_iter().fold(config, pseudotcp_direct::Config::with_mark);
        let direct: Arc<dyn Transport> = Arc::new(Direct::new(config));
        let way = |client: &Proxies| {
            Route::new(judge.clone(), Arc::new(client.clone()), Arc::clone(&direct))
        };
        // The first shard's, since it is on the thread that this is.
        let ours = Arc::new(way(&clients[0]).for_own_flows());
        let apps = clients.iter().map(|client| Arc::new(way(client)) as _).collect();
        Self { apps, ours, direct }
    }

    /// What DNS needs to know about them.
    fn footing(&self, args: &UpArgs, judge: &Judge, system: Vec<IpAddr>) -> dns::Footing {
        dns::Footing {
            has_ipv6: device::has_ipv6(&args.device),
            own: dns::host_servers(args),
            judge: judge.clone(),
            system,
            ours: Arc::clone(&self.ours),
            apps: Arc::clone(&self.apps[0]),
            direct: Arc::clone(&self.direct),
        }
    }
}
