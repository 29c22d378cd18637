//! The way of the packets: device, tap, fragments, guard, stack, transports.

use std::convert::Infallible;
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pseudotcp_direct::Direct;
use pseudotcp_masque::Transport;
use pseudotcp_masque_h2::Proxies;
use pseudotcp_packet::{Packet, reassembly};
use pseudotcp_pipeline::{Direction, Fragments, Guard, Judge, Route, Stack, Tap, splice, stack};
use pseudotcp_tun::{Counters as TunCounters, TunPort};
use tokio::time::sleep;

use super::args::UpArgs;
use super::capture::Capture;
use super::counters::Counters;
use super::rulebook::RuleBook;
use super::{device, dns};
use crate::output::{self, plural};
use crate::signals::{Signals, Wish};

/// How much free memory is kept for the next burst, in octets.
const KEPT: u32 = 64 << 20;

/// How often memory is given back after flows have ended, and with what pause before each: the last of it
/// is free 15 s later, when connections to the proxy that nobody needs have closed.
const GIVEN_BACK: u32 = 3;
const PAUSE: Duration = Duration::from_secs(8);

type Observer = Box<dyn FnMut(Direction, &Packet) + Send>;

/// Everything between the device and the proxy.
pub(super) struct DataPath {
    device: Tap<TunPort, Observer>,
    stack: Fragments<Guard<Stack>>,
    rules: RuleBook,
    tun: TunCounters,
    client: Proxies,
    dns: Option<dns::Stage>,
    busy_poll: Duration,
}

impl DataPath {
    /// Puts the stages together; nothing moves yet.
    pub(super) fn new(
        args: &UpArgs,
        rules: RuleBook,
        tun: TunPort,
        mut capture: Capture,
        client: Proxies,
        system: Vec<IpAddr>,
    ) -> Result<Self> {
        let config = stack::Config::for_device(tun.mtu(), tun.has_tcp_offload());
        let config = (args.udp.apply(config, tun.mtu()))
            .udp_offload(tun.has_udp_offload())
            .ping(args.icmp.into())
            .device_networks(device::networks(&args.device));
        let footing = footing(args, rules.judge(), &client, system);
        let (transport, dns) = dns::stage(&args.dns, rules.names(), footing)?;
        let stack = Stack::new(config, transport).context("making the stack")?;
        let (mtu, limit) = (tun.mtu(), stack.icmp_limit());
        let guard = Guard::new(rules.judge().clone(), limit.clone(), stack);
        let counters = tun.counters();
        let observer: Observer = Box::new(move |way, packet| capture.observe(way, packet));
        Ok(Self {
            device: Tap::new(tun, observer),
            stack: Fragments::new(reassembly::Config::default(), mtu, limit, guard),
            rules,
            tun: counters,
            client,
            dns,
            busy_poll: Duration::from_micros(args.busy_poll.into()),
        })
    }

    /// Gives back to the system what only the start took; keeps memory while there is traffic, and gives
    /// it back after flows have ended. Never ends.
    pub(super) fn manage_memory(&self) -> impl Future<Output = Infallible> + use<> {
        let mut crowd = self.stack.port().port().crowd();
        async move {
            pseudotcp_tun::keep_memory(KEPT);
            pseudotcp_tun::give_back_memory();
            let (mut flows, mut left) = (0, 0);
            while left > 0 || crowd.changed().await.is_ok() {
                let before = std::mem::replace(&mut flows, *crowd.borrow_and_update());
                if flows < before {
                    left = GIVEN_BACK;
                }
                if left > 0 {
                    left -= 1;
                    sleep(PAUSE).await;
                    pseudotcp_tun::give_back_memory();
                }
            }
            pending().await
        }
    }

    /// Moves packets until the operator wants the end; shows the counters then, and when asked.
    pub(super) async fn run(&mut self, signals: &mut Signals, as_json: bool) -> Result<()> {
        let outcome = loop {
            let splice = splice(&mut self.device, &mut self.stack).busy_poll(self.busy_poll);
            tokio::select! {
                ended = splice => break ended,
                wish = signals.next() => match wish {
                    Wish::Stop => break Ok(()),
                    Wish::Show => self.show(as_json),
                    Wish::Reload => self.reload(),
                },
            }
        };
        self.show(as_json);
        if let Some(stage) = &self.dns {
            stage.save();
        }
        outcome.context("the device is gone")
    }

    /// Puts the policy in force that the files hold now, and ends the flows that it does not allow.
    fn reload(&mut self) {
        if let Some(replaced) = self.rules.reload() {
            let ended = self.stack.port_mut().port_mut().retain(|flow| replaced.allows(flow));
            output::say(&format!(
                "policy replaced, {}",
                plural(ended, "flow ended", "flows ended")
            ));
        }
    }

    fn show(&self, as_json: bool) {
        Counters::read(
            &self.tun,
            &self.stack,
            &self.client,
            self.dns.as_ref().map(|stage| &stage.dns),
        )
        .show(as_json);
    }
}

/// The ways that flows may take, and what DNS needs to know about them.
fn footing(args: &UpArgs, judge: &Judge, client: &Proxies, system: Vec<IpAddr>) -> dns::Footing {
    let config = pseudotcp_direct::Config::default();
    let config = args.mark.into_iter().fold(config, pseudotcp_direct::Config::with_mark);
    let direct: Arc<dyn Transport> = Arc::new(Direct::new(config));
    let route = Route::new(judge.clone(), Arc::new(client.clone()), Arc::clone(&direct));
    dns::Footing {
        has_ipv6: device::has_ipv6(&args.device),
        own: dns::host_servers(args),
        judge: judge.clone(),
        system,
        ours: Arc::new(route.for_own_flows()),
        apps: Arc::new(route),
        direct,
    }
}
