use pnet_packet::udp::{MutableUdpPacket, UdpPacket};

use crate::ParseError;

/// Octets of a header.
pub(crate) const HEADER_LEN: usize = 8;

/// A validated UDP header (RFC 768).
#[derive(Clone, Copy, Debug)]
pub struct UdpHeader<'a>(pub(crate) &'a [u8]);

impl<'a> UdpHeader<'a> {
    /// The sender's port.
    pub fn source_port(&self) -> u16 {
        self.field(UdpPacket::get_source)
    }

    /// The receiver's port.
    pub fn destination_port(&self) -> u16 {
        self.field(UdpPacket::get_destination)
    }

    pub(crate) fn checksum(&self) -> u16 {
        self.field(UdpPacket::get_checksum)
    }

    /// Reads through the view; the default is never seen, as measuring comes first.
    fn field<T: Default>(&self, read: impl FnOnce(&UdpPacket<'a>) -> T) -> T {
        UdpPacket::new(self.0).map(|udp| read(&udp)).unwrap_or_default()
    }
}

/// Validates a datagram and returns its length, which may be less than the IP payload's.
pub(crate) fn measure(payload: &[u8]) -> Result<usize, ParseError> {
    let udp = UdpPacket::new(payload).ok_or(ParseError::TransportLength)?;
    let len = usize::from(udp.get_length());
    if len < HEADER_LEN || len > payload.len() {
        return Err(ParseError::UdpLength);
    }
    Ok(len)
}

/// Turns the header of a super-datagram into that of a datagram of `len` octets.
pub(crate) fn cut_header(header: &mut [u8], len: usize) {
    if let Some(mut udp) = MutableUdpPacket::new(header) {
        udp.set_length(u16::try_from(len).unwrap_or(u16::MAX));
    }
}
