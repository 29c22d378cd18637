//! Any head of a response of HTTP/1.1: read at its end, never before, and not a byte more.
#![no_main]

#[path = "../../crates/masque-h2/src/http1/head.rs"]
mod head;

use head::ResponseHead;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, Vec<u16>, &[u8])| {
    let (begun, cuts, octets) = input;
    let head = if begun { [b"HTTP/1.1 200 OK\r\n", octets].concat() } else { octets.to_vec() };
    let Ok(Some((parsed, length))) = ResponseHead::parse(&head) else { return };
    assert!(length <= head.len() && (100..1_000).contains(&parsed.status.as_u16()));
    assert_eq!(ResponseHead::parse(&head[..length]), Ok(Some((parsed, length))));
    for cut in cuts {
        assert_eq!(ResponseHead::parse(&head[..usize::from(cut) % length]), Ok(None));
    }
});
