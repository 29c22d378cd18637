//! What holds for every packet that was parsed, whatever it was parsed from.

use bytes::{Bytes, BytesMut};
use pseudotcp_packet::build::echo_reply;
use pseudotcp_packet::checksum::Sum;
use pseudotcp_packet::{Packet, ParameterProblem, Quote, Transport, Unreachable};

/// Puts the checksum of an IPv4 header right, so that it does not stop the fuzzer at the door.
pub fn sealed(octets: &[u8]) -> Bytes {
    let mut octets = BytesMut::from(octets);
    let header_len = octets.first().map_or(0, |first| usize::from(first & 15) * 4);
    if octets.first().is_some_and(|first| first >> 4 == 4)
        && (20..=octets.len()).contains(&header_len)
    {
        octets[10..12].fill(0);
        let checksum = Sum::default().with(&octets[..header_len]).checksum();
        octets[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    octets.freeze()
}

/// Asks a packet everything there is to ask, and sends on what comes of it.
pub fn interrogate(packet: &Packet) {
    let ip = packet.ip();
    assert!(ip.header_len() <= packet.head().len());
    assert_eq!(packet.to_bytes().len(), packet.total_len());
    assert!(!packet.to_string().is_empty());
    let _ = (ip.source(), ip.destination(), ip.hop_limit(), ip.ecn(), ip.dont_fragment());
    if let Transport::Tcp(tcp) = packet.transport() {
        assert!(tcp.options().window_scale.is_none_or(|shift| shift <= 14));
        let _ = (tcp.seq(), tcp.ack(), tcp.window(), tcp.urgent_pointer());
    }
    if let Some(quote) = Quote::of(packet) {
        assert_whole(&quote.unreachable(Unreachable::Protocol));
        assert_whole(&quote.too_big(u32::MAX));
        assert_whole(&quote.reassembly_timed_out());
        assert_whole(&quote.parameter_problem(ParameterProblem::Option { at: 40 }));
    }
    packet.fragments(usize::from(ip.hop_limit()), 1).for_each(|piece| assert_whole(&piece));
    echo_reply(packet).iter().for_each(assert_whole);
    let pieces: Vec<_> = packet.segments().collect();
    pieces.iter().for_each(assert_whole);
    assert!(pieces.iter().all(|piece| piece.flow() == packet.flow()));
    assert_eq!(pieces.iter().map(Packet::payload_len).sum::<usize>(), packet.payload_len());
}

/// Whether a packet that is complete is accepted by a receiver.
pub fn assert_whole(packet: &Packet) {
    let read = Packet::parse(packet.to_bytes()).expect("an own packet is refused");
    assert_eq!(read.to_string(), packet.to_string());
}
