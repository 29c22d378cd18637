//! Open flows: an HTTP/2 stream after its 2xx, or a connection of HTTP/1.1.

mod bytes;
mod capsules;
mod datagrams;
mod early;
mod outbox;
mod queue;

pub(crate) use bytes::Tunnel;
pub(crate) use capsules::{TcpCapsules, UdpCapsules};
pub(crate) use datagrams::Datagrams;
pub(crate) use early::Early;
