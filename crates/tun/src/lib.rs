//! Packet ports: Linux TUN with segmentation offload, adopted descriptors, channels and pcapng.
//!
//! ```text
//!            ┌──────────────────────── TunPort ────────────────────────┐
//!  kernel ──▶│ readv  [virtio header | packet]  ─▶ Packet              │──▶ Stream<Item = io::Result<Packet>>
//!         ◀──│ writev [virtio header | head | body slices]  ◀─ Packet  │◀── Sink<Packet, Error = io::Error>
//!            └──────────────────────────────────────────────────────────┘
//! ```
//!
//! A port is a `Sink` and a `Stream` of [`Packet`](pseudotcp_packet::Packet)s:
//!
//! * `LinuxTun::create` makes a TUN interface and its [`TunPort`]. With offload, super-segments of up
//!   to 64 KiB pass whole in both directions, without a copy of ours and without checksums.
//! * `LinuxTun::create_queues` makes one with several queues, for as many threads; a `SteeringTable` says
//!   which flow comes out of which.
//! * [`TunPort::adopt`] takes a descriptor that somebody else has opened, as on Android.
//! * [`channel::pair`] joins two ports in memory.
//! * [`pcapng::Writer`] writes packets to a capture file.
//!
//! ```no_run
//! use futures::{SinkExt, StreamExt};
//! use pseudotcp_packet::build;
//! use pseudotcp_tun::{LinuxTun, TunConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let config = TunConfig::default().name("tun7").address("10.7.0.1/24".parse().unwrap());
//! let mut port = LinuxTun::create(config)?;
//! while let Some(packet) = port.next().await {
//!     if let Some(reply) = build::echo_reply(&packet?) {
//!         port.send(reply).await?; // every address of 10.7.0.0/24 answers a ping
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What this crate deliberately does not do: routes, rules and name servers (the program's task),
//! and anything with flows. It is the only crate of the workspace with `unsafe`: reading into
//! uninitialised buffers, taking over descriptors, memory shared with the kernel, and what tells the
//! allocator how much to keep ([`keep_memory`], [`give_back_memory`]), which is here for that reason alone.

#[cfg(target_os = "linux")]
mod address;
mod adopted;
pub mod channel;
mod device;
#[cfg(target_os = "linux")]
mod linux;
mod memory;
mod offload;
pub mod pcapng;
mod pool;
mod port;
#[cfg(target_os = "linux")]
mod steering;

#[cfg(target_os = "linux")]
pub use linux::{LinuxTun, TunConfig, TunQueue};
pub use memory::{give_back_memory, keep_memory};
pub use port::{Counters, Snapshot, TunPort};
#[cfg(target_os = "linux")]
pub use steering::SteeringTable;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
