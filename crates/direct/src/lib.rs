//! Transport without a proxy: plain, protected sockets of this machine.
#![forbid(unsafe_code)]
