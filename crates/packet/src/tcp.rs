use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use bytes::{BufMut, BytesMut};
use pnet_packet::tcp::{MutableTcpPacket, TcpPacket};

use crate::ParseError;
use crate::seq::SeqNumber;
use crate::tcp_options::{self, TcpOptions};

/// Octets of a header without options.
pub(crate) const HEADER_LEN: usize = 20;

/// The control bits of a TCP header (RFC 9293 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpFlags(u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: Self = Self(1);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(1 << 1);
    /// Reset the connection.
    pub const RST: Self = Self(1 << 2);
    /// Push.
    pub const PSH: Self = Self(1 << 3);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(1 << 4);
    /// The urgent pointer counts.
    pub const URG: Self = Self(1 << 5);
    /// ECN-Echo (RFC 3168 §6.1).
    pub const ECE: Self = Self(1 << 6);
    /// Congestion window reduced (RFC 3168 §6.1).
    pub const CWR: Self = Self(1 << 7);

    /// Each bit with its letter in tcpdump's notation.
    const LETTERS: [(Self, char); 8] = [
        (Self::SYN, 'S'),
        (Self::FIN, 'F'),
        (Self::RST, 'R'),
        (Self::PSH, 'P'),
        (Self::URG, 'U'),
        (Self::CWR, 'W'),
        (Self::ECE, 'E'),
        (Self::ACK, '.'),
    ];

    /// No bit.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Whether all bits of `other` are set here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether some bit of `other` is set here.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These bits without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The octet on the wire.
    pub const fn bits(self) -> u8 {
        self.0
    }
}

impl From<u8> for TcpFlags {
    fn from(bits: u8) -> Self {
        Self(bits)
    }
}

impl BitOr for TcpFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for TcpFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The letters of tcpdump: `S.` is SYN and ACK, `none` no flag.
impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = Self::LETTERS.iter().filter(|(flag, _)| self.contains(*flag));
        let letters: String = letters.map(|(_, letter)| *letter).collect();
        f.pad(if letters.is_empty() { "none" } else { &letters })
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpFlags({self})")
    }
}

/// A validated TCP header (RFC 9293 §3.1).
#[derive(Clone, Copy, Debug)]
pub struct TcpHeader<'a>(pub(crate) &'a [u8]);

impl<'a> TcpHeader<'a> {
    /// The sender's port.
    pub fn source_port(&self) -> u16 {
        self.field(TcpPacket::get_source)
    }

    /// The receiver's port.
    pub fn destination_port(&self) -> u16 {
        self.field(TcpPacket::get_destination)
    }

    /// The sequence number of the first octet, or of the SYN.
    pub fn seq(&self) -> SeqNumber {
        SeqNumber::new(self.field(TcpPacket::get_sequence))
    }

    /// The acknowledgement number; it counts only with the ACK flag.
    pub fn ack(&self) -> SeqNumber {
        SeqNumber::new(self.field(TcpPacket::get_acknowledgement))
    }

    /// The control bits.
    pub fn flags(&self) -> TcpFlags {
        TcpFlags(self.field(TcpPacket::get_flags))
    }

    /// The window as on the wire, not scaled.
    pub fn window(&self) -> u16 {
        self.field(TcpPacket::get_window)
    }

    /// The urgent pointer; it counts only with the URG flag.
    pub fn urgent_pointer(&self) -> u16 {
        self.field(TcpPacket::get_urgent_ptr)
    }

    /// The options; those of unknown kind or unfitting length are passed over.
    pub fn options(&self) -> TcpOptions {
        TcpOptions::read(self.0.get(HEADER_LEN..).unwrap_or_default())
    }

    /// Octets of the header, options included.
    pub fn header_len(&self) -> usize {
        self.0.len()
    }

    /// Reads through the view; the default is never seen, as measuring comes first.
    fn field<T: Default>(&self, read: impl FnOnce(&TcpPacket<'a>) -> T) -> T {
        TcpPacket::new(self.0).map(|tcp| read(&tcp)).unwrap_or_default()
    }
}

/// Validates a header and returns its length.
pub(crate) fn measure(payload: &[u8]) -> Result<usize, ParseError> {
    let tcp = TcpPacket::new(payload).ok_or(ParseError::TransportLength)?;
    let header_len = usize::from(tcp.get_data_offset()) * 4;
    let options = payload.get(HEADER_LEN..header_len).ok_or(ParseError::TcpDataOffset)?;
    tcp_options::measure(options)?;
    Ok(header_len)
}

/// What a header says besides its checksum.
pub(crate) struct Fields<'a> {
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) seq: SeqNumber,
    pub(crate) ack: SeqNumber,
    pub(crate) flags: TcpFlags,
    pub(crate) window: u16,
    pub(crate) checksum: u16,
    pub(crate) options: &'a TcpOptions,
}

/// Appends a header.
pub(crate) fn put_header(head: &mut BytesMut, fields: &Fields<'_>) {
    let words = (HEADER_LEN + fields.options.encoded_len()) / 4;
    head.put_u16(fields.source_port);
    head.put_u16(fields.destination_port);
    head.put_u32(fields.seq.to_u32());
    head.put_u32(fields.ack.to_u32());
    head.put_u8(u8::try_from(words << 4).unwrap_or_default());
    head.put_u8(fields.flags.bits());
    head.put_u16(fields.window);
    head.put_u16(fields.checksum);
    head.put_u16(0);
    fields.options.write(head);
}

/// Turns the header of a super-segment into that of the piece at `offset`.
pub(crate) fn cut_header(header: &mut [u8], offset: usize, last: bool) {
    let Some(mut tcp) = MutableTcpPacket::new(header) else { return };
    let mut flags = TcpFlags(tcp.get_flags());
    if !last {
        flags = flags.without(TcpFlags::FIN | TcpFlags::PSH);
    }
    if offset > 0 {
        // RFC 3168 §6.1.2: one CWR for each reduction of the window.
        flags = flags.without(TcpFlags::CWR);
    }
    let octets = u32::try_from(offset).unwrap_or_default();
    tcp.set_sequence(SeqNumber::new(tcp.get_sequence()).advance(octets).to_u32());
    tcp.set_flags(flags.bits());
}

#[cfg(test)]
mod tests {
    use super::TcpFlags;

    #[test]
    fn flags_read_like_tcpdump() {
        assert_eq!((TcpFlags::SYN | TcpFlags::ACK).to_string(), "S.");
        assert_eq!(TcpFlags::empty().to_string(), "none");
        assert_eq!(format!("{:?}", TcpFlags::FIN | TcpFlags::PSH), "TcpFlags(FP)");
    }

    #[test]
    fn flags_are_a_set() {
        let flags = TcpFlags::FIN | TcpFlags::ACK;
        assert!(flags.contains(TcpFlags::ACK) && !flags.contains(TcpFlags::ACK | TcpFlags::SYN));
        assert!(flags.intersects(TcpFlags::ACK | TcpFlags::SYN));
        assert_eq!(flags.without(TcpFlags::FIN), TcpFlags::ACK);
    }
}
