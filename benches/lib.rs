//! Shared set-up of the benches: a TCP peer of a few lines, which never loses anything.
#![forbid(unsafe_code)]

use bytes::Bytes;
use pseudotcp_packet::build::TcpSegment;
use pseudotcp_packet::{FlowKey, Packet, Protocol, SeqNumber, TcpFlags, TcpOptions, Transport};

/// The payload of a segment that fills an MTU of 1,500 bytes.
pub const SEGMENT: usize = 1_460;

/// An app with one connection.
#[derive(Clone, Debug)]
pub struct Peer {
    flow: FlowKey,
    seq: SeqNumber,
    ack: SeqNumber,
}

impl Peer {
    /// The `n`th app; each has a five-tuple of its own (up to 2²⁴ of them).
    pub fn new(n: u32) -> Self {
        let [_, host @ .., port] = n.to_be_bytes();
        let source = ([10, 0, host[0], host[1]], 1_024 + u16::from(port)).into();
        let flow = FlowKey::new(Protocol::Tcp, source, ([192, 0, 2, 1], 80).into());
        Self { flow, seq: SeqNumber::new(n), ack: SeqNumber::new(0) }
    }

    /// The SYN, with the options that bulk transfers want.
    pub fn syn(&mut self) -> Packet {
        let options =
            TcpOptions { mss: Some(1_460), window_scale: Some(10), ..TcpOptions::default() };
        let syn = self.segment(TcpFlags::SYN, None, options, Bytes::new());
        self.seq = self.seq.advance(1);
        syn
    }

    /// The next bytes of the app.
    pub fn data(&mut self, payload: Bytes) -> Packet {
        let len = u32::try_from(payload.len()).unwrap_or(0);
        let data = self.segment(TcpFlags::ACK, Some(self.ack), TcpOptions::default(), payload);
        self.seq = self.seq.advance(len);
        data
    }

    /// An acknowledgement of all that was received.
    pub fn acknowledgement(&self) -> Packet {
        self.segment(TcpFlags::ACK, Some(self.ack), TcpOptions::default(), Bytes::new())
    }

    /// Takes a segment from the other side; returns the length of its payload.
    pub fn receive(&mut self, packet: &Packet) -> usize {
        let Transport::Tcp(tcp) = packet.transport() else { return 0 };
        let len = packet.payload_len();
        let syn = u32::from(tcp.flags().contains(TcpFlags::SYN));
        self.ack = tcp.seq().advance(u32::try_from(len).unwrap_or(0) + syn);
        len
    }

    /// Takes a segment that may follow a gap, or fill the only one that there is; whether all was in
    /// order. `beyond` is the end of what waits behind the gap.
    pub fn receive_around_gap(&mut self, packet: &Packet, beyond: &mut Option<SeqNumber>) -> bool {
        let expected = self.ack;
        let Transport::Tcp(tcp) = packet.transport() else { return true };
        let in_order = tcp.seq() == expected;
        self.receive(packet);
        if !in_order {
            *beyond = Some(std::mem::replace(&mut self.ack, expected));
        } else if let Some(end) = beyond.take() {
            self.ack = end;
        }
        in_order
    }

    fn segment(
        &self,
        flags: TcpFlags,
        ack: Option<SeqNumber>,
        options: TcpOptions,
        payload: Bytes,
    ) -> Packet {
        let (flow, seq) = (self.flow, self.seq);
        TcpSegment { flow, seq, ack, flags, window: u16::MAX, options, segment_size: None }
            .build(payload)
    }
}
