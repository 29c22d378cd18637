//! What a script knows of one connection: how its relative numbers lie on the wire, and how far the
//! streams have come.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use pseudotcp_packet::{FlowKey, Packet, Protocol, SeqNumber, TcpFlags, Transport};

/// The port of the app in flow 0; flow 1 has the next one.
const APP_PORT: u16 = 5_000;
const SERVER_PORT: u16 = 80;

/// One five-tuple; connections may follow each other on it.
#[derive(Debug)]
pub(super) struct Connection {
    /// The app is the source.
    pub(super) flow: FlowKey,
    /// The number on the wire of the script's 0 in the app's direction.
    irs: SeqNumber,
    /// The script's number of the SYN that opened the connection, and of the latest one.
    syn: u32,
    latest_syn: u32,
    /// The number of the subject's SYN, which is 0 in the script.
    iss: Option<SeqNumber>,
    /// That of the connection before.
    old_iss: Option<SeqNumber>,
    /// The timestamp on the wire that is 0 in the script.
    clock: Option<u32>,
    pub(super) written: u32,
    pub(super) read: u32,
}

impl Connection {
    pub(super) fn new(n: u16, (app, server): (IpAddr, IpAddr), irs: SeqNumber) -> Self {
        let source = SocketAddr::new(app, APP_PORT.wrapping_add(n));
        let destination = SocketAddr::new(server, SERVER_PORT);
        Self {
            flow: FlowKey::new(Protocol::Tcp, source, destination),
            irs,
            syn: 0,
            latest_syn: 0,
            iss: None,
            old_iss: None,
            clock: None,
            written: 0,
            read: 0,
        }
    }

    /// A number of the app's direction on the wire.
    pub(super) fn app_number(&self, relative: u32) -> SeqNumber {
        self.irs.advance(relative)
    }

    /// A number of the subject's direction on the wire.
    pub(super) fn our_number(&self, relative: u32) -> SeqNumber {
        self.iss.unwrap_or_default().advance(relative)
    }

    pub(super) fn tell_app(&self, number: SeqNumber) -> i64 {
        number.offset_from(self.irs).into()
    }

    pub(super) fn tell_ours(&self, number: SeqNumber) -> i64 {
        match self.iss {
            Some(iss) => number.offset_from(iss).into(),
            None => number.to_u32().into(),
        }
    }

    /// The app's echo of a timestamp, as it is on the wire.
    pub(super) fn echo_on_wire(&self, relative: u32) -> u32 {
        relative.wrapping_add(self.clock.unwrap_or(0))
    }

    pub(super) fn tell_timestamp(&self, value: u32) -> u32 {
        value.wrapping_sub(self.clock.unwrap_or(0))
    }

    /// The script calls a timestamp of the subject `relative`; the first one says what 0 is.
    pub(super) fn matches_timestamp(&mut self, value: u32, relative: u32) -> bool {
        let clock = *self.clock.get_or_insert(value.wrapping_sub(relative));
        value == clock.wrapping_add(relative)
    }

    /// The app sends a SYN.
    pub(super) fn syn_injected(&mut self, number: u32) {
        self.latest_syn = number;
    }

    /// The subject takes it for a new connection.
    pub(super) fn opened(&mut self) {
        self.syn = self.latest_syn;
        (self.written, self.read) = (0, 0);
    }

    /// Learns from what the subject sent.
    pub(super) fn observe(&mut self, packet: &Packet) {
        let Transport::Tcp(tcp) = packet.transport() else { return };
        if tcp.flags().contains(TcpFlags::SYN) && self.iss != Some(tcp.seq()) {
            self.old_iss = self.iss.replace(tcp.seq());
        }
    }

    /// How far the subject's number lies beyond that of the connection before.
    pub(super) fn isn_moved(&self) -> Option<i32> {
        Some(self.iss?.offset_from(self.old_iss?))
    }

    /// What the app sends from this number on; `syn` if it is that of a SYN.
    pub(super) fn app_bytes(&self, start: u32, syn: bool, len: u32) -> Bytes {
        let first = start.wrapping_add(u32::from(syn));
        stream(first.wrapping_sub(self.syn).wrapping_sub(1), len)
    }

    /// Whether a segment carries the bytes that the far side wrote.
    pub(super) fn carries_our_bytes(&self, packet: &Packet) -> bool {
        let Transport::Tcp(tcp) = packet.transport() else { return true };
        let Some(iss) = self.iss else { return packet.payload_len() == 0 };
        let at = tcp.seq().to_u32().wrapping_sub(iss.to_u32()).wrapping_sub(1);
        let len = u32::try_from(packet.payload_len()).unwrap_or(u32::MAX);
        packet.body().concat() == stream(at, len)
    }
}

/// The bytes of either stream: neighbours differ, and so do stretches a power of two apart.
pub(super) fn stream(from: u32, len: u32) -> Bytes {
    let byte = |n: u32| {
        let at = from.wrapping_add(n);
        (at ^ (at >> 8) ^ (at >> 16)).to_le_bytes()[0]
    };
    (0..len).map(byte).collect()
}
