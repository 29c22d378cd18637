//! Capture files in the pcapng format (draft-ietf-opsawg-pcapng), readable by Wireshark.
//!
//! One section, one interface of link type RAW: packets start with their IP header.

use std::io::{self, Write};
use std::time::Duration;

use pseudotcp_packet::Packet;

/// Which way a packet went, seen from the apps: out of the device or back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the proxy to an app.
    Inbound,
    /// From an app to the proxy.
    Outbound,
}

/// Writes packets to a capture.
///
/// It does not buffer: give it a [`BufWriter`](std::io::BufWriter) where that matters.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
}

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const LINKTYPE_RAW: u16 = 101;

const OPTION_END: [u8; 4] = [0; 4];
/// `if_tsresol`, one byte: timestamps count 10^-9 s.
const OPTION_NANOSECONDS: [u8; 8] = [9, 0, 1, 0, 9, 0, 0, 0];
/// `epb_flags`, four bytes of value.
const OPTION_FLAGS: [u8; 4] = [2, 0, 4, 0];

impl<W: Write> Writer<W> {
    /// Starts a capture: writes the section header and the description of the one interface.
    pub fn new(output: W) -> io::Result<Self> {
        let mut writer = Self { output };
        let mut section = Vec::with_capacity(16);
        section.extend(BYTE_ORDER_MAGIC.to_le_bytes());
        section.extend(1_u16.to_le_bytes()); // major version
        section.extend(0_u16.to_le_bytes()); // minor version
        section.extend(u64::MAX.to_le_bytes()); // section length: not given
        writer.write_block(SECTION_HEADER, &section)?;
        let mut interface = Vec::with_capacity(20);
        interface.extend(LINKTYPE_RAW.to_le_bytes());
        interface.extend(0_u16.to_le_bytes()); // reserved
        interface.extend(0_u32.to_le_bytes()); // no limit to the length of packets
        interface.extend(OPTION_NANOSECONDS);
        interface.extend(OPTION_END);
        writer.write_block(INTERFACE_DESCRIPTION, &interface)?;
        Ok(writer)
    }

    /// Writes one packet, seen at `since_epoch` (time since 1 January 1970 UTC). A super-segment
    /// becomes the packets that it stands for, each complete and with its checksum.
    pub fn write(
        &mut self,
        since_epoch: Duration,
        direction: Direction,
        packet: &Packet,
    ) -> io::Result<()> {
        packet.segments().try_for_each(|segment| self.write_one(since_epoch, direction, &segment))
    }

    /// Hands what was written on to where the output ends.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn write_one(
        &mut self,
        since_epoch: Duration,
        direction: Direction,
        packet: &Packet,
    ) -> io::Result<()> {
        let len = u32::try_from(packet.total_len()).map_err(io::Error::other)?;
        let time = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        let flags: u32 = match direction {
            Direction::Inbound => 1,
            Direction::Outbound => 2,
        };
        let mut block = Vec::with_capacity(packet.total_len() + 36);
        block.extend(0_u32.to_le_bytes()); // interface
        block.extend(high_half(time).to_le_bytes());
        block.extend(low_half(time).to_le_bytes());
        block.extend(len.to_le_bytes()); // captured
        block.extend(len.to_le_bytes()); // original
        block.extend_from_slice(packet.head());
        packet.body().iter().for_each(|slice| block.extend_from_slice(slice));
        block.resize(block.len().next_multiple_of(4), 0);
        block.extend(OPTION_FLAGS);
        block.extend(flags.to_le_bytes());
        block.extend(OPTION_END);
        self.write_block(ENHANCED_PACKET, &block)
    }

    /// A block: kind, length, content (already padded to four bytes), length again.
    fn write_block(&mut self, kind: u32, content: &[u8]) -> io::Result<()> {
        let len = u32::try_from(content.len() + 12).map_err(io::Error::other)?.to_le_bytes();
        self.output.write_all(&kind.to_le_bytes())?;
        self.output.write_all(&len)?;
        self.output.write_all(content)?;
        self.output.write_all(&len)
    }
}

fn high_half(value: u64) -> u32 {
    u32::try_from(value >> 32).unwrap_or(u32::MAX)
}

fn low_half(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;
    use std::process::Command;

    use bytes::Bytes;
    use pseudotcp_packet::build::datagram;

    use super::*;

    const TIME: Duration = Duration::new(1_700_000_000, 123_456_789);

    /// A super-datagram of two datagrams, 1,000 and 501 bytes.
    fn capture() -> Vec<u8> {
        let (from, to) = ("10.0.0.1:1000".parse().unwrap(), "10.0.0.2:2000".parse().unwrap());
        let payload = Bytes::from(vec![0x55; 1_501]);
        let packet = datagram(from, to, payload, NonZeroU16::new(1_000)).unwrap();
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file).unwrap();
        writer.write(TIME, Direction::Inbound, &packet).unwrap();
        writer.write(TIME, Direction::Outbound, &packet).unwrap();
        writer.flush().unwrap();
        file
    }

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    /// The blocks of a capture: kind and content.
    fn blocks(mut file: &[u8]) -> Vec<(u32, &[u8])> {
        let mut blocks = Vec::new();
        while !file.is_empty() {
            let len = word(file, 4) as usize;
            assert_eq!(len % 4, 0);
            assert_eq!(word(file, len - 4) as usize, len, "both lengths agree");
            blocks.push((word(file, 0), &file[8..len - 4]));
            file = &file[len..];
        }
        blocks
    }

    #[test]
    fn super_segments_are_captured_as_the_packets_they_stand_for() {
        let file = capture();
        let blocks = blocks(&file);
        let kinds: Vec<u32> = blocks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [SECTION_HEADER, INTERFACE_DESCRIPTION, 6, 6, 6, 6]);
        for (index, (_, block)) in blocks[2..].iter().enumerate() {
            let time = (u64::from(word(block, 4)) << 32) | u64::from(word(block, 8));
            assert_eq!(u128::from(time), TIME.as_nanos());
            let len = word(block, 12) as usize;
            assert_eq!(len, 28 + if index % 2 == 0 { 1_000 } else { 501 });
            let packet = Packet::parse(Bytes::copy_from_slice(&block[20..20 + len])).unwrap();
            assert_eq!(packet.total_len(), len, "complete, with a correct checksum");
            let options = &block[20 + len.next_multiple_of(4)..];
            let flags = if index < 2 { 1 } else { 2 };
            assert_eq!(options, [2, 0, 4, 0, flags, 0, 0, 0, 0, 0, 0, 0]);
        }
    }

    #[test]
    fn tshark_reads_the_capture() {
        let path = std::env::temp_dir().join(format!("pcapng-{}.pcapng", std::process::id()));
        std::fs::write(&path, capture()).unwrap();
        let fields = ["-e", "frame.time_epoch", "-e", "udp.length", "-e", "udp.checksum.status"];
        let output = Command::new("tshark")
            .args(["-o", "udp.check_checksum:TRUE", "-T", "fields", "-r"])
            .arg(&path)
            .args(fields)
            .output();
        std::fs::remove_file(&path).unwrap();
        let Ok(output) = output else {
            let required = std::env::var_os("PSEUDOTCP_REQUIRE_ALL").is_some();
            assert!(!required, "tshark is not installed");
            eprintln!("SKIP: tshark is not installed");
            return;
        };
        let text = String::from_utf8(output.stdout).unwrap();
        let line = |len| format!("1700000000.123456789\t{len}\t1\n");
        let expected = [line(1_008), line(509), line(1_008), line(509)].concat();
        assert_eq!(text, expected, "{}", String::from_utf8_lossy(&output.stderr));
    }
}
