//! One shard: a queue of the device, a stack, and connections to the proxy of its own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pseudotcp_masque::Transport;
use pseudotcp_masque_h2::Proxies;
use pseudotcp_packet::{FlowKey, Packet, reassembly};
use pseudotcp_pipeline::{
    Dealer, Direction, Exchange, ExchangeStats, Fragments, Guard, Judge, Seat, Stack, Tap, splice,
    stack,
};
use pseudotcp_tun::TunPort;
use tokio::sync::{mpsc, watch};

use super::args::UpArgs;
use super::capture::Capture;
use super::{READY, device};
use crate::clock;

type Observer = Box<dyn FnMut(Direction, &Packet) + Send>;

/// The way of the packets of one shard: device, tap, exchange, fragments, exchange, guard, stack. Those of
/// other shards leave it at the exchanges, before and after they are whole.
pub(super) struct Shard {
    device: Tap<TunPort, Observer>,
    stack: Exchange<Fragments<Exchange<Guard<Stack>>>>,
    client: Proxies,
    busy_poll: Duration,
}

/// A shard's place among the others.
pub(super) struct Place {
    pub(super) dealer: Arc<Dealer>,
    /// Where packets change hands as they come.
    pub(super) pieces: Seat,
    /// Where those do that have been made of fragments.
    pub(super) whole: Seat,
}

/// What somebody does with a shard between two of its packets.
pub(super) type Visit = Box<dyn FnOnce(&mut Shard) + Send>;

impl Shard {
    /// Puts the stages together; nothing moves yet. `transport` leads to `client`, at last.
    pub(super) fn new(
        args: &UpArgs,
        (tun, capture): (TunPort, Capture),
        place: Place,
        judge: Judge,
        client: Proxies,
        transport: Arc<dyn Transport>,
    ) -> Result<Self> {
        let config = config(args, &tun).one_of(place.dealer.shards());
        let stack = Stack::new(config, transport).context("making the stack")?;
        let stack = stack.dealt_by(place.dealer);
        let (mtu, limit) = (tun.mtu(), stack.icmp_limit());
        let guard = Exchange::new(place.whole, Guard::new(judge, limit.clone(), stack));
        let fragments = Fragments::new(reassembly::Config::default(), mtu, limit, guard);
        let observer: Observer = Box::new(move |way, packet| capture.observe(way, packet));
        Ok(Self {
            device: Tap::new(tun, observer),
            stack: Exchange::new(place.pieces, fragments),
            client,
            busy_poll: Duration::from_micros(args.busy_poll.into()),
        })
    }

    /// Moves packets until the device ends, which it tells; and lets visitors in, also after that.
    pub(super) async fn run(
        mut self,
        mut visits: mpsc::Receiver<Visit>,
        ended: mpsc::Sender<io::Result<()>>,
    ) {
        self.connect();
        loop {
            let splice = splice(&mut self.device, &mut self.stack).busy_poll(self.busy_poll);
            tokio::select! {
                outcome = splice => {
                    let _another_has_told = ended.try_send(outcome);
                    break;
                }
                visit = visits.recv() => match visit {
                    Some(visit) => visit(&mut self),
                    None => return,
                },
            }
        }
        while let Some(visit) = visits.recv().await {
            visit(&mut self);
        }
    }

    /// Has the client connect before the first flow comes, which then need not wait.
    fn connect(&self) {
        let client = self.client.clone();
        tokio::spawn(async move {
            let _or_flows_tell_why = client.ready(clock::deadline(READY)).await;
        });
    }

    /// How many flows it has, to be watched: see [`Stack::crowd`].
    pub(super) fn crowd(&self) -> watch::Receiver<usize> {
        self.guard().port().crowd()
    }

    /// Ends the flows that `keep` does not want; how many those were.
    pub(super) fn retain(&mut self, keep: impl Fn(&FlowKey) -> bool) -> usize {
        self.stack.port_mut().port_mut().port_mut().port_mut().retain(keep)
    }

    pub(super) fn tun(&self) -> &TunPort {
        self.device.port()
    }

    pub(super) fn client(&self) -> &Proxies {
        &self.client
    }

    pub(super) fn guard(&self) -> &Guard<Stack> {
        self.whole().port()
    }

    pub(super) fn fragments(&self) -> &Fragments<Exchange<Guard<Stack>>> {
        self.stack.port()
    }

    /// The exchanges of packets as they come, and of those made of fragments.
    pub(super) fn exchanges(&self) -> [ExchangeStats; 2] {
        [self.stack.stats(), self.whole().stats()]
    }

    fn whole(&self) -> &Exchange<Guard<Stack>> {
        self.fragments().port()
    }
}

fn config(args: &UpArgs, tun: &TunPort) -> stack::Config {
    let config = stack::Config::for_device(tun.mtu(), tun.has_tcp_offload());
    (args.udp.apply(config, tun.mtu()))
        .udp_offload(tun.has_udp_offload())
        .ping(args.icmp.into())
        .device_networks(device::networks(&args.device))
}
