//! A demux, a clock that only tests move, and short names for packets.
#![allow(dead_code, reason = "each test file uses its part")]

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pseudotcp_packet::{Packet, build};
use pseudotcp_udp::{Config, Demux, Event, FlowId};

pub(crate) const APP: &str = "10.0.0.1:5000";
pub(crate) const SERVER: &str = "192.0.2.7:7";

pub(crate) struct Bench {
    pub(crate) demux: Demux,
    pub(crate) now: Instant,
}

impl Bench {
    #[expect(clippy::disallowed_methods, reason = "the origin of the virtual time")]
    pub(crate) fn new(config: Config) -> Self {
        Self { demux: Demux::new(config), now: Instant::now() }
    }

    /// Time passes; the demux is called exactly when it asked for.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.demux.poll_timeout().filter(|&at| at <= until) {
            self.now = self.now.max(at);
            self.demux.handle_timeout(self.now);
        }
        self.now = until;
    }

    /// The app sends `payload` from [`APP`] to [`SERVER`].
    pub(crate) fn send(&mut self, payload: &[u8]) {
        self.deliver(&datagram(APP, SERVER, payload));
    }

    pub(crate) fn deliver(&mut self, packet: &Packet) {
        self.demux.handle_datagram(self.now, packet);
    }

    /// Opens a flow by a first datagram, accepts it and reads that datagram.
    pub(crate) fn open(&mut self, source: &str, destination: &str) -> FlowId {
        self.deliver(&datagram(source, destination, b"first"));
        let id = self.opening();
        self.demux.accept(self.now, id);
        assert_eq!(self.events(), [Event::Readable { id }]);
        assert_eq!(self.reads(id), ["first"]);
        id
    }

    /// The one event that is there must be an opening.
    pub(crate) fn opening(&mut self) -> FlowId {
        match self.events()[..] {
            [Event::Opening { id, .. }] => id,
            ref other => panic!("expected one opening, got {other:?}"),
        }
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.demux.poll_event()).collect()
    }

    pub(crate) fn packets(&mut self) -> Vec<Packet> {
        std::iter::from_fn(|| self.demux.poll_transmit()).collect()
    }

    pub(crate) fn reads(&mut self, id: FlowId) -> Vec<Bytes> {
        std::iter::from_fn(|| self.demux.read(id)).collect()
    }
}

pub(crate) fn datagram(source: &str, destination: &str, payload: &[u8]) -> Packet {
    let payload = Bytes::copy_from_slice(payload);
    build::datagram(source.parse().unwrap(), destination.parse().unwrap(), payload, None).unwrap()
}

pub(crate) fn super_datagram(payload: &[u8], segment_size: u16) -> Packet {
    let payload = Bytes::copy_from_slice(payload);
    let size = NonZeroU16::new(segment_size);
    build::datagram(APP.parse().unwrap(), SERVER.parse().unwrap(), payload, size).unwrap()
}

/// The packet as the device would write it, checksum completed.
pub(crate) fn wire(packet: &Packet) -> Bytes {
    let mut segments = packet.segments();
    let whole = segments.next().unwrap();
    assert!(segments.next().is_none(), "one packet expected");
    whole.to_bytes()
}
