use bytes::Bytes;
use pseudotcp_packet::{Ecn, FlowKey, Packet, SeqNumber, TcpFlags, TcpOptions, Transport};

/// A segment from an app, as the state machine reads it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    /// The app is the source.
    pub(crate) flow: FlowKey,
    pub(crate) seq: SeqNumber,
    pub(crate) ack: Option<SeqNumber>,
    pub(crate) flags: TcpFlags,
    /// The codepoint of its IP header.
    pub(crate) ecn: Ecn,
    /// As on the wire.
    pub(crate) window: u16,
    pub(crate) options: TcpOptions,
    pub(crate) payload: &'a [Bytes],
    /// Octets of payload.
    pub(crate) len: u32,
    /// Octets of memory that a part of the payload keeps alive.
    pub(crate) pinned: u32,
}

impl<'a> Segment<'a> {
    /// `None` for what is not a whole TCP segment.
    pub(crate) fn of(packet: &'a Packet) -> Option<Self> {
        let Transport::Tcp(header) = packet.transport() else { return None };
        let flags = header.flags();
        Some(Self {
            flow: packet.flow()?,
            seq: header.seq(),
            ack: flags.contains(TcpFlags::ACK).then(|| header.ack()),
            flags,
            ecn: packet.ip().ecn(),
            window: header.window(),
            options: header.options(),
            payload: packet.body(),
            len: u32::try_from(packet.payload_len()).ok()?,
            pinned: u32::try_from(packet.pinned()).unwrap_or(u32::MAX),
        })
    }

    pub(crate) fn has(&self, flag: TcpFlags) -> bool {
        self.flags.contains(flag)
    }

    /// RFC 9293 §3.4, SEG.LEN: SYN and FIN count.
    pub(crate) fn sequence_len(&self) -> u32 {
        self.len + u32::from(self.has(TcpFlags::SYN)) + u32::from(self.has(TcpFlags::FIN))
    }

    /// One past the last sequence number it occupies.
    pub(crate) fn end(&self) -> SeqNumber {
        self.seq.advance(self.sequence_len())
    }

    /// Asks for a connection: SYN, and nothing that contradicts it.
    pub(crate) fn is_opening(&self) -> bool {
        self.has(TcpFlags::SYN)
            && !self.flags.intersects(TcpFlags::ACK | TcpFlags::RST | TcpFlags::FIN)
    }
}
