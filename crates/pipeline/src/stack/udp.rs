//! The UDP half of the stack: demux events in, tunnels opened, pumped and ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures::future::AbortHandle;
use futures::task::waker_ref;
use futures::{SinkExt, StreamExt};
use pseudotcp_masque::{DatagramTunnel, OpenError, TunnelError};
use pseudotcp_packet::{FlowKey, Packet, Transport, Unreachable};
use pseudotcp_udp::{Demux, Event, FlowId};

use super::flows::{FlowWaker, Token, shrink};
use super::open::{Opened, request};
use super::{QUANTUM, Shared, answer};
use crate::clock;
use crate::dealer::Claim;

/// The demux and what belongs to each of its flows on the tunnel side.
pub(super) struct UdpSide {
    pub(super) demux: Demux,
    flows: HashMap<FlowId, Flow>,
}

struct Flow {
    _claim: Option<Claim>,
    waker: Arc<FlowWaker>,
    key: FlowKey,
    stage: Stage,
}

enum Stage {
    Opening(AbortHandle),
    Open(DatagramTunnel),
}

impl UdpSide {
    pub(super) fn new(demux: Demux) -> Self {
        Self { demux, flows: HashMap::new() }
    }

    /// How many flows exist, opening and open.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether packets must be taken from the demux before it has room for more.
    pub(super) fn is_congested(&self) -> bool {
        self.demux.write_credit() == 0
    }

    /// Ends the flows that `keep` does not want, as if their ports had closed; how many.
    pub(super) fn retain(&mut self, now: Instant, keep: impl Fn(&FlowKey) -> bool) -> usize {
        let unwanted: Vec<FlowId> =
            self.flows.iter().filter(|(_, flow)| !keep(&flow.key)).map(|(id, _)| *id).collect();
        for id in &unwanted {
            self.demux.close(now, *id, Some(Unreachable::Port));
        }
        unwanted.len()
    }

    /// Works off what the demux has to say.
    pub(super) fn handle_events(&mut self, now: Instant, shared: &mut Shared) {
        while let Some(event) = self.demux.poll_event() {
            match event {
                Event::Opening { id, flow } => self.open(now, id, &flow, shared),
                Event::Readable { id } => self.schedule(id),
                Event::Closed { id } => self.forget(id),
            }
        }
    }

    /// Hands the outcome of an open to the demux.
    pub(super) fn opened(
        &mut self,
        now: Instant,
        id: FlowId,
        result: Result<DatagramTunnel, OpenError>,
        shared: &mut Shared,
    ) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        match result {
            Ok(tunnel) => {
                flow.stage = Stage::Open(tunnel);
                flow.waker.schedule();
                self.demux.accept(now, id);
            }
            Err(cause) => {
                shared.open_failed(now, &cause);
                let refusal = answer::udp(&cause, flow.key.is_ipv6(), shared.udp_refusal);
                tracing::debug!(?id, %cause, ?refusal, "open refused");
                self.demux.refuse(now, id, refusal);
            }
        }
    }

    /// Moves datagrams both ways, up to a quantum each; returns how many bytes moved.
    pub(super) fn pump(&mut self, now: Instant, id: FlowId, shared: &mut Shared) -> usize {
        let Some(flow) = self.flows.get_mut(&id) else { return 0 };
        let Stage::Open(tunnel) = &mut flow.stage else { return 0 };
        let waker = waker_ref(&flow.waker);
        let cx = &mut Context::from_waker(&waker);
        let outcome = pump_up(tunnel, &mut self.demux, id, cx, shared)
            .and_then(|up| Ok((up, pump_down(tunnel, &mut self.demux, now, id, cx)?)));
        match outcome {
            Ok((up, down)) => {
                if up >= QUANTUM || down >= QUANTUM || self.demux.write_credit() == 0 {
                    flow.waker.schedule();
                }
                up + down
            }
            Err(end) => {
                self.demux.close(now, id, end.kind());
                0
            }
        }
    }

    /// The next packet for the device. Errors for an app that had too many are not sent, those for
    /// remembered refusals included.
    pub(super) fn poll_transmit(&mut self, shared: &mut Shared) -> Option<Packet> {
        std::iter::from_fn(|| self.demux.poll_transmit()).find(|packet| match packet.transport() {
            Transport::Icmp(_) | Transport::Icmpv6(_) => {
                shared.allow_icmp(clock::now(), packet.ip().destination())
            }
            _ => true,
        })
    }

    fn open(&mut self, now: Instant, id: FlowId, flow: &FlowKey, shared: &mut Shared) {
        let request = request(flow, now + shared.open_timeout);
        let transport = Arc::clone(&shared.transport);
        let open =
            shared.opens.start(async move { Opened::Udp(id, transport.open_udp(request).await) });
        let waker = FlowWaker::new(Token::Udp(id), &shared.ready);
        let (claim, stage) = (shared.claim(flow), Stage::Opening(open));
        self.flows.insert(id, Flow { _claim: claim, waker, key: *flow, stage });
    }

    fn schedule(&mut self, id: FlowId) {
        if let Some(flow) = self.flows.get(&id) {
            flow.waker.schedule();
        }
    }

    fn forget(&mut self, id: FlowId) {
        let removed = self.flows.remove(&id);
        shrink(&mut self.flows);
        if let Some(Flow { stage: Stage::Opening(open), .. }) = removed {
            open.abort();
        }
    }
}

/// How a datagram tunnel came to its end.
enum End {
    Plain,
    Broken(TunnelError),
}

impl End {
    /// What the end tells the app about its last datagram.
    fn kind(&self) -> Option<Unreachable> {
        match self {
            Self::Plain => None,
            Self::Broken(cause) => answer::udp_end(cause),
        }
    }
}

/// App → target. A tunnel that takes nothing now loses the datagram; nobody waits.
fn pump_up(
    tunnel: &mut DatagramTunnel,
    demux: &mut Demux,
    id: FlowId,
    cx: &mut Context<'_>,
    shared: &mut Shared,
) -> Result<usize, End> {
    let mut moved = 0;
    while moved < QUANTUM {
        let Some(datagram) = demux.read(id) else { break };
        moved += cost(&datagram);
        if datagram.len() > tunnel.max_datagram_size() {
            shared.stats.datagrams_not_taken += 1;
            demux.reject(id, tunnel.max_datagram_size());
            continue;
        }
        match tunnel.poll_ready_unpin(cx) {
            Poll::Ready(ready) => {
                ready.and_then(|()| tunnel.start_send_unpin(datagram)).map_err(End::Broken)?;
            }
            Poll::Pending => shared.stats.datagrams_not_taken += 1,
        }
    }
    if let Poll::Ready(Err(cause)) = tunnel.poll_flush_unpin(cx) {
        return Err(End::Broken(cause));
    }
    Ok(moved)
}

/// Target → app, while the packets so far are being taken.
fn pump_down(
    tunnel: &mut DatagramTunnel,
    demux: &mut Demux,
    now: Instant,
    id: FlowId,
    cx: &mut Context<'_>,
) -> Result<usize, End> {
    let mut moved = 0;
    while moved < QUANTUM && demux.write_credit() > 0 {
        match tunnel.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(datagram))) => {
                moved += cost(&datagram);
                demux.write(now, id, datagram);
            }
            Poll::Ready(Some(Err(cause))) => return Err(End::Broken(cause)),
            Poll::Ready(None) => return Err(End::Plain),
            Poll::Pending => break,
        }
    }
    Ok(moved)
}

/// What a datagram takes of a quantum: empty ones cost too.
fn cost(datagram: &Bytes) -> usize {
    datagram.len() + 28
}
