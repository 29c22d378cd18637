//! Any fragments at any time: memory stays within its limit, and what comes out is a packet.
#![no_main]

use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use pseudotcp_fuzz::packet::{assert_whole, interrogate, sealed};
use pseudotcp_packet::reassembly::{Config, Reassembler};
use pseudotcp_packet::{Packet, Transport};

const MAX_BYTES: usize = 20_000;

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    /// Octets that may be a fragment.
    Octets(&'a [u8]),
    /// A fragment that often fits others.
    Fragment {
        ipv6: bool,
        identification: bool,
        unit: u8,
        more: bool,
        payload: &'a [u8],
    },
    Pass {
        seconds: u8,
    },
}

fuzz_target!(|steps: Vec<Step<'_>>| {
    let mut now = Instant::now();
    let config = Config::default().max_bytes(MAX_BYTES).max_packets(8).max_fragments(16);
    let mut reassembler = Reassembler::new(config);
    for step in steps {
        let octets = match step {
            Step::Octets(octets) => sealed(octets),
            Step::Fragment { ipv6, identification, unit, more, payload } => {
                fragment(ipv6, identification, unit, more, payload)
            }
            Step::Pass { seconds } => {
                now += Duration::from_secs(seconds.into());
                reassembler.handle_timeout(now);
                continue;
            }
        };
        if let Some(whole) =
            Packet::parse(octets).ok().and_then(|packet| reassembler.handle_packet(now, packet))
        {
            assert!(!matches!(whole.transport(), Transport::Fragment(_)));
            interrogate(&whole);
        }
        while let Some(error) = reassembler.poll_transmit() {
            assert_whole(&error);
        }
        assert!(reassembler.held() <= MAX_BYTES);
        assert!(reassembler.poll_timeout().is_none_or(|at| at <= now + Duration::from_mins(1)));
    }
});

/// A fragment of UDP, which checks what is joined, or of a protocol that does not.
fn fragment(
    ipv6: bool,
    identification: bool,
    unit: u8,
    more: bool,
    payload: &[u8],
) -> bytes::Bytes {
    let protocol = if identification { 17 } else { 253 };
    let payload = &payload[..payload.len().min(2_000)];
    let offset = u16::from(unit % 32) * 8 | u16::from(ipv6 && more);
    let mut octets = Vec::new();
    if ipv6 {
        octets.extend([0x60, 0, 0, 0]);
        octets.extend(u16::try_from(payload.len() + 8).unwrap().to_be_bytes());
        octets.extend([44, 64]);
        octets.extend([0xFD; 32]);
        octets.extend([protocol, 0]);
        octets.extend(offset.to_be_bytes());
        octets.extend([0, 0, 0, u8::from(identification)]);
    } else {
        octets.extend([0x45, 0]);
        octets.extend(u16::try_from(payload.len() + 20).unwrap().to_be_bytes());
        octets.extend([0, u8::from(identification)]);
        octets.extend((offset / 8 | u16::from(more) << 13).to_be_bytes());
        octets.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    }
    octets.extend(payload);
    sealed(&octets)
}
