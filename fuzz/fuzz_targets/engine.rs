//! Any sequence of segments, commands and waits: see [`pseudotcp_fuzz::engine`] for what must hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pseudotcp_fuzz::engine::{Input, play};

fuzz_target!(|input: Input| {
    play(&input);
});
