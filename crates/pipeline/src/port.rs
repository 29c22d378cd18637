use std::io;

use futures::{Sink, Stream};
use pseudotcp_packet::Packet;

/// Anything that packets come out of and go into: a device, a tap, a guard, the stack.
///
/// It is nothing but a `Sink<Packet>` and a `Stream` of packets in one value; every type that is
/// both is a port. What the two traits leave open is settled here:
///
/// * `poll_next` yields packets until it would block. The caller bounds how many it takes in a row.
/// * `start_send` may be called many times before `poll_flush`; **`poll_flush` is the end of a
///   batch**. A stage that collects work (acknowledgements, replies, writes) does it there.
/// * Every stage forwards `poll_flush`.
/// * `None` from the stream, or an error from either half, ends the port.
pub trait PacketPort:
    Sink<Packet, Error = io::Error> + Stream<Item = io::Result<Packet>> + Unpin
{
}

impl<P> PacketPort for P where
    P: Sink<Packet, Error = io::Error> + Stream<Item = io::Result<Packet>> + Unpin
{
}
