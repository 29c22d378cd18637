//! Test support: simulated links, packet scripts, an independent TCP peer.
#![forbid(unsafe_code)]
