//! Open flows: an HTTP/2 stream after its 2xx.

mod bytes;
mod datagrams;

pub(crate) use bytes::Tunnel;
pub(crate) use datagrams::Datagrams;
