//! ICMP of any content, with the errors and replies that it leads to, and back again.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use pseudotcp_fuzz::packet::{assert_whole, interrogate, sealed};
use pseudotcp_packet::{
    Checksum, DatagramHead, ErrorCause, IcmpError, Packet, Quote, Unreachable, build,
};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    ipv6: bool,
    kind: u8,
    code: u8,
    rest: u32,
    quoted: &'a [u8],
    /// Quote what parses, so that errors lead back to it.
    seal: bool,
}

fuzz_target!(|input: Input<'_>| {
    let quoted = &input.quoted[..input.quoted.len().min(1_400)];
    let quoted = if input.seal { sealed(quoted).to_vec() } else { quoted.to_vec() };
    if let Ok(packet) = Packet::parse_offloaded(quoted.clone().into(), Checksum::Vouched, None) {
        leads_back(&packet);
    }
    if let Ok(message) = Packet::parse_offloaded(message(&input, &quoted), Checksum::Vouched, None)
    {
        let error = IcmpError::of(&message);
        let reply = build::echo_reply(&message);
        assert!(error.is_none() || (reply.is_none() && Quote::of(&message).is_none()));
        if let Some(error) = error {
            assert_eq!(error.flow.source().ip(), message.ip().destination());
        }
        interrogate(&message);
    }
});

/// An error about a packet names the flow of that packet, whichever way it was quoted.
fn leads_back(packet: &Packet) {
    build::reset(packet).iter().for_each(|reset| reset.segments().for_each(|r| assert_whole(&r)));
    let Some(flow) = packet.flow() else { return };
    let mut head = DatagramHead::default();
    let cut = (packet.head().len() <= 1_200 && head.take(packet))
        .then(|| head.quote(&bytes::Bytes::new()))
        .flatten();
    let whole = Quote::of(packet).filter(|_| packet.head().len() <= 1_200);
    for quote in whole.into_iter().chain(cut) {
        for (error, cause) in [
            (quote.too_big(1_300), ErrorCause::TooBig { mtu: 1_300 }),
            (quote.unreachable(Unreachable::Port), ErrorCause::Unreachable(Unreachable::Port)),
        ] {
            assert_whole(&error);
            let read = IcmpError::of(&error).map(|error| (error.cause, error.flow));
            assert_eq!(read, Some((cause, flow)));
        }
    }
}

fn message(input: &Input<'_>, quoted: &[u8]) -> bytes::Bytes {
    let mut octets = Vec::new();
    let len = u16::try_from(quoted.len() + 8).unwrap();
    if input.ipv6 {
        octets.extend([0x60, 0, 0, 0]);
        octets.extend(len.to_be_bytes());
        octets.extend([58, 64]);
        octets.extend([0xFD; 16]);
        octets.extend(quoted.get(8..24).unwrap_or(&[0xFD; 16]));
    } else {
        octets.extend([0x45, 0]);
        octets.extend((len + 20).to_be_bytes());
        octets.extend([0, 0, 0x40, 0, 64, 1, 0, 0, 10, 0, 0, 1]);
        octets.extend(quoted.get(12..16).unwrap_or(&[10, 0, 0, 2]));
    }
    octets.extend([input.kind, input.code, 0, 0]);
    octets.extend(input.rest.to_be_bytes());
    octets.extend(quoted);
    sealed(&octets)
}
