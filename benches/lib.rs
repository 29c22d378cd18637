//! Shared set-up of the benches.
#![forbid(unsafe_code)]
