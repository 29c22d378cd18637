//! An engine in a world, with a far side that takes and gives known streams.

use std::collections::BTreeMap;
use std::time::Instant;

use pseudotcp_packet::{Packet, Transport};
use pseudotcp_tcp::{CloseCause, Config, Engine, Event, FlowId};
use pseudotcp_testkit::Node;

use super::{assert_pattern, pattern};

/// The largest item that the far side writes.
const CHUNK: usize = 16_375;

/// An engine whose flows are all accepted, and each gets `download` bytes.
pub(crate) struct Interposer {
    pub(crate) engine: Engine,
    pub(crate) far: BTreeMap<FlowId, FarSide>,
    pub(crate) download: u64,
    /// The far side takes nothing while this is set.
    pub(crate) stalled: bool,
    /// What a router on the way to the app can carry; it says so of what is larger.
    pub(crate) path_mtu: Option<u32>,
    /// The most bytes that were buffered at once.
    pub(crate) peak: usize,
    dirty: bool,
}

/// The far end of one flow.
#[derive(Debug, Default)]
pub(crate) struct FarSide {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) finished: bool,
    pub(crate) closed: Option<CloseCause>,
}

impl Interposer {
    pub(crate) fn new(config: Config, download: u64) -> Self {
        let engine = Engine::new(config, [7; 16]);
        let far = BTreeMap::new();
        Self { engine, far, download, stalled: false, path_mtu: None, peak: 0, dirty: false }
    }

    /// The far side of the only flow.
    pub(crate) fn only(&self) -> &FarSide {
        assert_eq!(self.far.len(), 1);
        self.far.values().next().unwrap()
    }

    /// All flows ended well.
    pub(crate) fn all_clean(&self) -> bool {
        self.far.values().all(|far| far.closed == Some(CloseCause::Clean))
    }

    /// The far side takes bytes again.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.stalled = false;
        let ids: Vec<FlowId> = self.far.keys().copied().collect();
        for id in ids {
            self.read(now, id);
        }
    }

    /// Whether the way to the app can carry a packet. If not, the engine is told.
    fn passes(&mut self, now: Instant, packet: &Packet) -> bool {
        let Some(mtu) = self.path_mtu else { return true };
        let too_big = packet.segments().any(|piece| piece.total_len() > mtu as usize);
        if too_big && let (Some(flow), Transport::Tcp(tcp)) = (packet.flow(), packet.transport()) {
            self.engine.handle_too_big(now, &flow, tcp.seq(), mtu);
        }
        !too_big
    }

    fn drain(&mut self, now: Instant) {
        self.peak = self.peak.max(self.engine.buffered());
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::Opening { id, .. } => {
                    self.far.insert(id, FarSide::default());
                    self.engine.accept(now, id);
                    self.write(now, id);
                }
                Event::Readable { id } => self.read(now, id),
                Event::Writable { id } => self.write(now, id),
                Event::Finished { id } => self.far.get_mut(&id).unwrap().finished = true,
                Event::Expired { id } => panic!("{id} expired"),
                Event::Closed { id, cause } => self.far.get_mut(&id).unwrap().closed = Some(cause),
            }
        }
    }

    fn read(&mut self, now: Instant, id: FlowId) {
        let far = self.far.get_mut(&id).unwrap();
        while !self.stalled
            && let Some(data) = self.engine.read(now, id, CHUNK)
        {
            assert_pattern(far.received, &data);
            far.received += data.len() as u64;
        }
    }

    fn write(&mut self, now: Instant, id: FlowId) {
        let far = self.far.get_mut(&id).unwrap();
        while far.sent < self.download && self.engine.write_credit(now, id) > 0 {
            let len = usize::try_from(self.download - far.sent).unwrap().min(CHUNK);
            self.engine.write(now, id, pattern(far.sent, len));
            far.sent += len as u64;
        }
        if far.sent == self.download {
            self.engine.finish(now, id);
        }
    }
}

impl Node for Interposer {
    fn handle_packet(&mut self, now: Instant, packet: &Packet) {
        self.engine.handle_segment(now, packet);
        self.dirty = true;
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.engine.handle_timeout(now);
        self.dirty = true;
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Packet> {
        if std::mem::take(&mut self.dirty) {
            self.drain(now);
        }
        loop {
            let packet = self.engine.poll_transmit(now)?;
            if self.passes(now, &packet) {
                return Some(packet);
            }
        }
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.engine.poll_timeout()
    }
}
