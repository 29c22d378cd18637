//! Any options: refused, or read; and what was read is written so that it reads the same.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pseudotcp_packet::build::TcpSegment;
use pseudotcp_packet::{
    Checksum, FlowKey, Packet, Protocol, SackBlocks, SeqNumber, TcpFlags, TcpOptions, Transport,
};

fuzz_target!(|options: &[u8]| {
    let options = &options[..options.len().min(40)];
    let Ok(packet) = Packet::parse_offloaded(segment_with(options), Checksum::Vouched, None) else {
        return;
    };
    let read = options_of(&packet);
    let again = options_of(&rebuilt(&packet, read));
    let blocks = again.sack.len();
    let sack: SackBlocks = read.sack.iter().take(blocks).collect();
    assert_eq!(again, TcpOptions { sack, ..read });
    assert!(blocks == read.sack.len() || blocks < 4);
});

/// A segment over IPv6 (which has no header checksum) with these options, padded to a word.
fn segment_with(options: &[u8]) -> Bytes {
    let words = options.len().div_ceil(4);
    let len = u8::try_from(20 + words * 4).unwrap_or(u8::MAX);
    let mut octets = vec![0x60, 0, 0, 0, 0, len, 6, 64];
    octets.extend_from_slice(&[0x20; 32]);
    octets.extend_from_slice(&[0; 12]);
    octets.push(u8::try_from((5 + words) << 4).unwrap_or(u8::MAX));
    octets.extend_from_slice(&[0x10, 0, 0, 0, 0, 0, 0]);
    octets.extend_from_slice(options);
    octets.resize(40 + usize::from(len), 0);
    octets.into()
}

fn options_of(packet: &Packet) -> TcpOptions {
    match packet.transport() {
        Transport::Tcp(tcp) => tcp.options(),
        other => panic!("{other:?}"),
    }
}

fn rebuilt(packet: &Packet, options: TcpOptions) -> Packet {
    let flow = packet.flow().expect("a TCP segment has a flow");
    let segment = TcpSegment {
        flow: FlowKey::new(Protocol::Tcp, flow.source(), flow.destination()),
        seq: SeqNumber::new(0),
        ack: None,
        flags: TcpFlags::empty(),
        window: 0,
        options,
        segment_size: None,
    };
    let complete = segment.build(Bytes::new()).segments().next().expect("one packet");
    Packet::parse(complete.to_bytes()).expect("an own packet is refused")
}
