//! The `pseudotcp` program.
#![forbid(unsafe_code)]

fn main() {}
