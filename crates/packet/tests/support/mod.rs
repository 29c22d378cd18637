//! Fragments made by hand.

use bytes::Bytes;
use pseudotcp_packet::Packet;
use pseudotcp_packet::checksum::Sum;

/// A protocol for experiments (RFC 3692): any payload is valid.
pub(crate) const EXPERIMENT: u8 = 253;

/// One fragment between two fixed hosts.
#[derive(Clone, Debug)]
pub(crate) struct Fragment {
    pub(crate) ipv6: bool,
    pub(crate) protocol: u8,
    pub(crate) identification: u16,
    pub(crate) offset: usize,
    pub(crate) more: bool,
    pub(crate) payload: Vec<u8>,
}

impl Fragment {
    pub(crate) fn packet(&self) -> Packet {
        Packet::parse(self.octets()).unwrap()
    }

    pub(crate) fn octets(&self) -> Bytes {
        let mut octets = if self.ipv6 { self.header_v6() } else { self.header_v4() };
        octets.extend(&self.payload);
        octets.into()
    }

    fn header_v4(&self) -> Vec<u8> {
        let mut header = vec![0x45, 0];
        header.extend(u16::try_from(20 + self.payload.len()).unwrap().to_be_bytes());
        header.extend(self.identification.to_be_bytes());
        let flags = u16::from(self.more) << 13;
        header.extend((flags | u16::try_from(self.offset / 8).unwrap()).to_be_bytes());
        header.extend([64, self.protocol, 0, 0, 10, 0, 0, 1, 192, 0, 2, 7]);
        let checksum = Sum::default().with(&header).checksum();
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    fn header_v6(&self) -> Vec<u8> {
        let mut header = vec![0x60, 0, 0, 0];
        header.extend(u16::try_from(8 + self.payload.len()).unwrap().to_be_bytes());
        header.extend([44, 64]);
        for host in [1, 2] {
            header.extend([0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
        }
        header.extend([self.protocol, 0]);
        let flags = u16::from(self.more);
        header.extend((u16::try_from(self.offset).unwrap() | flags).to_be_bytes());
        header.extend(u32::from(self.identification).to_be_bytes());
        header
    }
}
