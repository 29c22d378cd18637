//! Checked views and builders for IPv4, IPv6, TCP, UDP and ICMP packets.
//!
//! ```text
//!              Packet::parse (the only validation)
//!   Bytes ───────────────────────────────────────────▶ Packet ──▶ ip() transport() flow()
//!                                                       ▲  │
//!   build::TcpSegment, datagram, echo_reply, Quote ─────┤  ├────▶ segments() ──▶ MTU-sized packets
//!   reassembly::Reassembler ◀── fragments ──────────────┘  └────▶ fragments() ─▶ the same, of any
//!
//!   head: IP and transport header, contiguous      body: 0, 1 or up to 16 payload slices
//! ```
//!
//! Untrusted bytes become a [`Packet`] or a [`ParseError`]; no accessor of a packet can fail, and
//! nothing downstream measures again. Payload is never copied: it is sliced out of the buffer that
//! was parsed, and builders put their headers beside slices that the caller holds.
//!
//! ```
//! use bytes::Bytes;
//! use pseudotcp_packet::{Checksum, Packet, Transport, build};
//!
//! let (app, server) = ("10.0.0.1:5000".parse()?, "192.0.2.7:53".parse()?);
//! let packet = build::datagram(app, server, Bytes::from_static(b"who?"), None).unwrap();
//! assert_eq!(packet.checksum(), Checksum::Partial); // the device completes it, or segments()
//!
//! let wire = packet.segments().next().unwrap().to_bytes();
//! let packet = Packet::parse(wire)?;
//! let Transport::Udp(udp) = packet.transport() else { panic!("a datagram was built") };
//! assert_eq!(udp.destination_port(), 53);
//! assert_eq!(packet.body()[0], "who?");
//! println!("{packet}"); // 10.0.0.1:5000 > 192.0.2.7:53: udp len 4
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it deliberately does not do: no link layers, no IPv6 jumbograms, no interpretation of IP
//! options and extension headers beyond walking over them.
//!
//! Features: none. MSRV: 1.95.
#![forbid(unsafe_code)]
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod body;
pub mod build;
pub mod checksum;
mod display;
mod error;
mod flow;
mod fragment;
mod heads;
mod icmp;
mod icmp_error;
mod ip;
mod ipv4;
mod ipv6;
mod ipv6_options;
mod packet;
mod quote;
pub mod reassembly;
mod scope;
mod segment;
mod seq;
mod tcp;
mod tcp_options;
mod udp;

pub use body::Body;
pub use error::ParseError;
pub use flow::{FlowKey, Protocol};
pub use fragment::FragmentInfo;
pub use heads::Heads;
pub use icmp::IcmpHeader;
pub use icmp_error::{ErrorCause, IcmpError};
pub use ip::{Ecn, HeaderProblem, Ip, Version};
pub use packet::{Checksum, Packet, Transport};
pub use quote::{DatagramHead, ParameterProblem, Quote, Unreachable};
pub use scope::Scope;
pub use seq::SeqNumber;
pub use tcp::{TcpFlags, TcpHeader};
pub use tcp_options::{SackBlocks, TcpOptions, Timestamps};
pub use udp::UdpHeader;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
