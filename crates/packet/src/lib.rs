//! Checked views and builders for IPv4, IPv6, TCP, UDP and ICMP packets.
#![forbid(unsafe_code)]
