//! Open flows: an HTTP/2 stream after its 2xx, or a connection of HTTP/1.1.

mod bytes;
mod capsules;
mod datagrams;
mod outbox;
mod queue;

pub(crate) use bytes::Tunnel;
pub(crate) use capsules::{TcpCapsules, UdpCapsules};
pub(crate) use datagrams::Datagrams;
