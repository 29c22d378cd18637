//! Any octets, as a device may hand them over: an error or a packet of which everything holds.
#![no_main]

use std::num::NonZeroU16;

use libfuzzer_sys::fuzz_target;
use pseudotcp_fuzz::packet::{interrogate, sealed};
use pseudotcp_packet::{Checksum, Packet};

fuzz_target!(|input: (u8, Option<NonZeroU16>, &[u8])| {
    let (checksum, segment_size, octets) = input;
    let checksum = match checksum % 3 {
        0 => Checksum::Complete,
        1 => Checksum::Partial,
        _ => Checksum::Vouched,
    };
    let _ = Packet::parse(octets.to_vec().into());
    if let Ok(packet) = Packet::parse_offloaded(sealed(octets), checksum, segment_size) {
        interrogate(&packet);
    }
});
