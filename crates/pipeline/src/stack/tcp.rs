//! The TCP half of the stack: engine events in, tunnels opened, pumped and ended.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::future::AbortHandle;
use futures::task::waker_ref;
use futures::{SinkExt, StreamExt};
use pseudotcp_masque::{AbortCode, ByteTunnel, MAX_CHUNK, OpenError};
use pseudotcp_packet::FlowKey;
use pseudotcp_tcp::{CloseCause, Engine, Event, FlowId, Refusal};

use super::flows::{FlowWaker, Token, shrink};
use super::open::{Opened, request};
use super::{QUANTUM, Shared, answer};
use crate::dealer::Claim;

/// The engine and what belongs to each of its flows on the tunnel side.
pub(super) struct TcpSide {
    pub(super) engine: Engine,
    flows: HashMap<FlowId, Flow>,
}

struct Flow {
    _claim: Option<Claim>,
    waker: Arc<FlowWaker>,
    /// When the first open started: those after a silence get what is left of its time.
    since: Instant,
    /// The app has sent its last byte.
    finished: bool,
    stage: Stage,
}

enum Stage {
    /// The SYN is held while the transport opens.
    Opening { open: AbortHandle, app: IpAddr },
    /// The open failed for a reason that may pass; the SYN is held in silence.
    Silent { proxy_gone: bool },
    /// Bytes flow.
    Open(OpenFlow),
}

/// An accepted flow: its tunnel, and how far each direction has come.
struct OpenFlow {
    tunnel: ByteTunnel,
    up: Up,
    /// The engine has bytes to read.
    readable: bool,
    /// The tunnel's slot was not empty after the last flush.
    unflushed: bool,
    /// The target's end of stream has not come yet.
    down_open: bool,
}

/// The direction from the app to the target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Up {
    Open,
    /// The app has sent FIN; what is unread goes first.
    Finishing,
    Finished,
    /// The target takes no more, though it may still have something to say.
    Broken,
}

impl TcpSide {
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine, flows: HashMap::new() }
    }

    /// How many flows exist, held and open.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// Resets the flows that `keep` does not want; how many.
    pub(super) fn retain(&mut self, now: Instant, keep: impl Fn(&FlowKey) -> bool) -> usize {
        let unwanted: Vec<FlowId> =
            self.engine.flows().filter(|info| !keep(&info.flow)).map(|info| info.id).collect();
        for id in &unwanted {
            self.engine.reset(now, *id);
        }
        unwanted.len()
    }

    /// Works off what the engine has to say.
    pub(super) fn handle_events(&mut self, now: Instant, shared: &mut Shared) {
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::Opening { id, flow } => self.open(now, id, &flow, shared),
                Event::Readable { id } => self.update(id, |open| open.readable = true),
                Event::Writable { id } => self.update(id, |_| {}),
                Event::Finished { id } => self.finish(id),
                Event::Expired { id } => self.expire(now, id, shared),
                Event::Closed { id, cause } => self.close(id, cause),
            }
        }
    }

    /// Hands the outcome of an open to the engine.
    pub(super) fn opened(
        &mut self,
        now: Instant,
        id: FlowId,
        result: Result<ByteTunnel, OpenError>,
        shared: &mut Shared,
    ) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        match result {
            Ok(tunnel) => {
                flow.stage = Stage::Open(OpenFlow::new(tunnel, flow.finished));
                flow.waker.schedule();
                self.engine.accept(now, id);
            }
            Err(cause) => {
                let refusal = flow.refusal(&cause, now, shared);
                tracing::debug!(?id, %cause, ?refusal, "open refused");
                if let Refusal::Later { .. } = refusal {
                    let proxy_gone = matches!(cause, OpenError::ProxyGone(_));
                    flow.stage = Stage::Silent { proxy_gone };
                }
                self.engine.refuse(now, id, refusal);
            }
        }
    }

    /// Moves up to a quantum of bytes each way; returns how many moved.
    pub(super) fn pump(&mut self, now: Instant, id: FlowId, shared: &mut Shared) -> usize {
        let Some(flow) = self.flows.get_mut(&id) else { return 0 };
        let Stage::Open(open) = &mut flow.stage else { return 0 };
        let waker = waker_ref(&flow.waker);
        let mut pump =
            Pump { engine: &mut self.engine, now, id, cx: &mut Context::from_waker(&waker) };
        let up = open.pump_up(&mut pump);
        let down = open.pump_down(&mut pump);
        if up >= QUANTUM || down >= QUANTUM {
            flow.waker.schedule();
        }
        shared.stats.tcp_bytes_up += up as u64;
        shared.stats.tcp_bytes_down += down as u64;
        up + down
    }

    /// Starts an open for a held SYN: a new one, or one whose time of silence is over.
    fn open(&mut self, now: Instant, id: FlowId, flow: &FlowKey, shared: &mut Shared) {
        let since = self.flows.get(&id).map_or(now, |flow| flow.since);
        let request = request(flow, since + shared.open_timeout);
        let transport = Arc::clone(&shared.transport);
        let open =
            shared.opens.start(async move { Opened::Tcp(id, transport.open_tcp(request).await) });
        let stage = Stage::Opening { open, app: flow.source().ip() };
        let waker = FlowWaker::new(Token::Tcp(id), &shared.ready);
        let claim = shared.claim(flow);
        self.flows.insert(id, Flow { _claim: claim, waker, since, finished: false, stage });
    }

    /// The app has sent its last byte; with an early answer perhaps before the tunnel is open.
    fn finish(&mut self, id: FlowId) {
        if let Some(flow) = self.flows.get_mut(&id) {
            flow.finished = true;
        }
        self.update(id, OpenFlow::finish);
    }

    /// Changes an open flow and queues it.
    fn update(&mut self, id: FlowId, change: impl FnOnce(&mut OpenFlow)) {
        if let Some(Flow { waker, stage: Stage::Open(open), .. }) = self.flows.get_mut(&id) {
            change(open);
            waker.schedule();
        }
    }

    /// Refuses a SYN that was held for too long.
    fn expire(&mut self, now: Instant, id: FlowId, shared: &mut Shared) {
        let proxy_gone = match self.flows.get(&id).map(|flow| &flow.stage) {
            Some(Stage::Silent { proxy_gone }) => *proxy_gone,
            _ => false,
        };
        self.engine.refuse(now, id, answer::tcp_expired(proxy_gone, shared.tcp_refusal));
    }

    /// Forgets a flow, and tells its open or its tunnel how it ended.
    fn close(&mut self, id: FlowId, cause: CloseCause) {
        let removed = self.flows.remove(&id);
        shrink(&mut self.flows);
        match removed.map(|flow| flow.stage) {
            Some(Stage::Opening { open, .. }) => open.abort(),
            Some(Stage::Open(mut open)) => match cause {
                CloseCause::Clean => {}
                CloseCause::Reset => open.tunnel.abort(AbortCode::ConnectError),
                _ => open.tunnel.abort(AbortCode::Cancel),
            },
            Some(Stage::Silent { .. }) | None => {}
        }
    }
}

impl Flow {
    /// The answer to a failed open, by RST where ICMP is used up.
    fn refusal(&self, cause: &OpenError, now: Instant, shared: &mut Shared) -> Refusal {
        shared.open_failed(now, cause);
        match (answer::tcp(cause, shared.tcp_refusal), &self.stage) {
            (Refusal::Unreachable(_), Stage::Opening { app, .. })
                if !shared.allow_icmp(now, *app) =>
            {
                Refusal::Reset
            }
            (refusal, _) => refusal,
        }
    }
}

/// What a pump works with: one flow of the engine, and its waker.
struct Pump<'a, 'w> {
    engine: &'a mut Engine,
    now: Instant,
    id: FlowId,
    cx: &'a mut Context<'w>,
}

impl OpenFlow {
    fn new(tunnel: ByteTunnel, finished: bool) -> Self {
        let up = if finished { Up::Finishing } else { Up::Open };
        // With an early answer bytes may wait; to look for none costs nothing.
        Self { tunnel, up, readable: true, unflushed: false, down_open: true }
    }

    fn finish(&mut self) {
        if self.up == Up::Open {
            self.up = Up::Finishing;
        }
    }

    /// App → target, while the tunnel's slot is empty.
    fn pump_up(&mut self, pump: &mut Pump<'_, '_>) -> usize {
        let mut moved = 0;
        while self.readable && self.up != Up::Broken && moved < QUANTUM {
            match self.tunnel.poll_ready_unpin(pump.cx) {
                Poll::Ready(Ok(())) => moved += self.send_one(pump),
                Poll::Ready(Err(_)) => self.up = Up::Broken,
                Poll::Pending => return moved,
            }
        }
        self.flush(moved > 0, pump);
        if self.up == Up::Broken {
            self.discard(pump);
        }
        moved
    }

    /// Hands one chunk to the tunnel, whose slot is empty.
    fn send_one(&mut self, pump: &mut Pump<'_, '_>) -> usize {
        let Some(chunk) = pump.engine.read(pump.now, pump.id, MAX_CHUNK) else {
            self.readable = false;
            return 0;
        };
        let len = chunk.len();
        if self.tunnel.start_send_unpin(chunk).is_err() {
            self.up = Up::Broken;
        }
        len
    }

    /// Pushes what the slot holds, and after the app's last byte the end of stream.
    fn flush(&mut self, sent: bool, pump: &mut Pump<'_, '_>) {
        if sent || self.unflushed {
            match self.tunnel.poll_flush_unpin(pump.cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => self.up = Up::Broken,
                Poll::Pending => self.unflushed = true,
            }
        }
        if self.up == Up::Finishing && !self.readable {
            match self.tunnel.poll_close_unpin(pump.cx) {
                Poll::Ready(Ok(())) => self.up = Up::Finished,
                Poll::Ready(Err(_)) => self.up = Up::Broken,
                Poll::Pending => {}
            }
        }
    }

    /// Takes from the app what the target will not have. Once the app has got everything that the
    /// target said, more of it is answered by RST, as the target's own host would.
    fn discard(&mut self, pump: &mut Pump<'_, '_>) {
        while self.readable {
            if pump.engine.read(pump.now, pump.id, MAX_CHUNK).is_none() {
                self.readable = false;
            } else if !self.down_open && pump.engine.is_delivered(pump.id) {
                pump.engine.reset(pump.now, pump.id);
                self.readable = false;
            }
        }
    }

    /// Target → app, while the engine gives credit.
    fn pump_down(&mut self, pump: &mut Pump<'_, '_>) -> usize {
        let mut moved = 0;
        while self.down_open && moved < QUANTUM && pump.engine.write_credit(pump.now, pump.id) > 0 {
            match self.tunnel.poll_next_unpin(pump.cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    moved += chunk.len();
                    pump.engine.write(pump.now, pump.id, chunk);
                }
                Poll::Ready(Some(Err(cause))) => {
                    tracing::debug!(id = ?pump.id, %cause, "tunnel ended");
                    self.down_open = false;
                    pump.engine.reset(pump.now, pump.id);
                }
                Poll::Ready(None) => {
                    self.down_open = false;
                    pump.engine.finish(pump.now, pump.id);
                }
                Poll::Pending => break,
            }
        }
        moved
    }
}
