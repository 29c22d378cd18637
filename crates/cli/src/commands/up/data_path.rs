//! The way of the packets: device, tap, fragments, guard, stack, transports.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use pseudotcp_direct::Direct;
use pseudotcp_masque::Transport;
use pseudotcp_masque_h2::Client;
use pseudotcp_packet::{Packet, reassembly};
use pseudotcp_pipeline::{Direction, Fragments, Guard, Route, Stack, Tap, splice, stack};
use pseudotcp_policy::{Rules, RulesBuilder, defaults};
use pseudotcp_tun::{Counters as TunCounters, TunPort};

use super::args::UpArgs;
use super::capture::Capture;
use super::counters::Counters;
use super::device;
use crate::signals::{Signals, Wish};

type Observer = Box<dyn FnMut(Direction, &Packet)>;

/// Everything between the device and the proxy.
pub(super) struct DataPath {
    device: Tap<TunPort, Observer>,
    stack: Fragments<Guard<Stack>>,
    tun: TunCounters,
    client: Client,
}

impl DataPath {
    /// Puts the stages together; nothing moves yet.
    pub(super) fn new(
        args: &UpArgs,
        tun: TunPort,
        mut capture: Capture,
        client: Client,
    ) -> Result<Self> {
        let config = stack::Config::for_device(tun.mtu(), tun.has_tcp_offload())
            .ping(args.icmp.into())
            .device_networks(device::networks(&args.device));
        let stack = Stack::new(config, transport(args, &client)).context("making the stack")?;
        let (mtu, limit) = (tun.mtu(), stack.icmp_limit());
        let counters = tun.counters();
        let observer: Observer = Box::new(move |way, packet| capture.observe(way, packet));
        Ok(Self {
            device: Tap::new(tun, observer),
            stack: Fragments::new(
                reassembly::Config::default(),
                mtu,
                limit,
                Guard::new(rules(args), stack),
            ),
            tun: counters,
            client,
        })
    }

    /// Moves packets until the operator wants the end; shows the counters then, and when asked.
    pub(super) async fn run(&mut self, signals: &mut Signals, as_json: bool) -> Result<()> {
        let outcome = loop {
            let ended = tokio::select! {
                ended = splice(&mut self.device, &mut self.stack) => Some(ended),
                wish = signals.next() => (wish == Wish::Stop).then_some(Ok(())),
            };
            match ended {
                Some(ended) => break ended,
                None => self.show(as_json),
            }
        };
        self.show(as_json);
        outcome.context("the device is gone")
    }

    fn show(&self, as_json: bool) {
        Counters::read(&self.tun, &self.stack, &self.client).show(as_json);
    }
}

fn transport(args: &UpArgs, client: &Client) -> Arc<dyn Transport> {
    let proxy: Arc<dyn Transport> = Arc::new(client.clone());
    if args.direct.is_empty() {
        return proxy;
    }
    let config = pseudotcp_direct::Config::default();
    let config = args.mark.into_iter().fold(config, pseudotcp_direct::Config::with_mark);
    let networks = args.direct.iter().copied().collect();
    Arc::new(Route::new(proxy, Arc::new(Direct::new(config)), networks))
}

fn rules(args: &UpArgs) -> Rules {
    let private = args.reject_private.then(defaults::reject_private);
    let dns_over_tls = args.reject_dns_over_tls.then(defaults::reject_dns_over_tls);
    let wanted = private.into_iter().chain(dns_over_tls);
    wanted.fold(Rules::builder(), RulesBuilder::rule).build()
}
