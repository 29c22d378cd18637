//! The whole program against a real kernel: `pseudotcp up` in a namespace with a real TUN, a real
//! proxy in the next one, ordinary apps on one side and ordinary servers on the other.
//!
//! Every test builds its own [lab](support::lab) and needs root; `cargo xtask test` installs the
//! programs that they run. A test that cannot run says why, and fails where
//! `PSEUDOTCP_REQUIRE_ALL=1` is set.
#![forbid(unsafe_code)]

mod cases;
mod support;
mod targets;
