use async_trait::async_trait;
use bytes::Bytes;
use futures::{Sink, Stream};

use crate::{OpenError, OpenRequest, TunnelError};

/// The most bytes of one item that a [`ByteTunnel`]'s sink takes, and a good size for those that come out:
/// a little less than 64 KiB, as many as the largest packet carries in whole segments of 1,448 bytes. One
/// byte more would cost a second packet.
pub const MAX_CHUNK: usize = 45 * 1_448;

/// Opens flows to targets.
///
/// Object-safe and shared as `Arc<dyn Transport>`. Both calls may be made any number of times at
/// once; neither may hold up the other. Dropping an open future, or a tunnel, cancels the flow at
/// the far side.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Opens a TCP flow. `Ok` means that the target itself has accepted the connection.
    async fn open_tcp(&self, request: OpenRequest) -> Result<ByteTunnel, OpenError>;

    /// Opens a UDP flow. `Ok` means that the far side has a socket and will try.
    async fn open_udp(&self, request: OpenRequest) -> Result<DatagramTunnel, OpenError>;
}

/// What an abort tells the far side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortCode {
    /// The flow is no longer wanted (HTTP/2 `CANCEL`).
    Cancel,
    /// The app reset its connection; the target shall hear a reset too (HTTP/2 `CONNECT_ERROR`,
    /// RFC 9113 §8.5).
    ConnectError,
}

/// An open TCP flow.
pub type ByteTunnel = Box<dyn ByteStream>;

/// An open UDP flow.
pub type DatagramTunnel = Box<dyn DatagramStream>;

/// The two halves of an open TCP flow, and its abort.
///
/// **Sink** (towards the target). It holds one item. `poll_ready` is Ready exactly when that slot
/// is empty, and reserves nothing; while the slot is full it also pushes, so that a caller may wait
/// on it alone. `start_send` takes one chunk of 1 to [`MAX_CHUNK`] bytes and only then asks for room
/// at the far side. `poll_flush` sends as room arrives and gives back what is left over once the
/// slot is empty. `poll_close` flushes, then ends this direction (half-close): the other direction
/// goes on.
///
/// **Stream** (from the target). `poll_next` hands out one chunk and releases exactly its bytes at
/// the far side: who does not poll closes the window. `None` is the target's clean end of stream,
/// after all its bytes; any other end is an `Err`, and final. The stream is drained by the
/// transport itself as data arrives, so a flow that nobody polls costs its window and harms no
/// neighbour.
///
/// Errors are final for both directions. Dropping the tunnel before both directions ended aborts it
/// with [`AbortCode::Cancel`].
pub trait ByteStream:
    Sink<Bytes, Error = TunnelError> + Stream<Item = Result<Bytes, TunnelError>> + Send + Unpin
{
    /// Ends the flow at once, both ways; what was not sent yet is dropped.
    fn abort(&mut self, code: AbortCode);
}

/// An open UDP flow: every item is one datagram's payload, whole.
///
/// **Sink**. It never makes its caller wait: `poll_ready` Pending means "drop and count", and no
/// waker need fire. Datagrams wait in a queue of at most 64 and 50 ms, the oldest dropped first;
/// what waits together leaves together at `poll_flush`. A datagram larger than
/// [`max_datagram_size`](Self::max_datagram_size) is dropped: whole or not at all.
///
/// **Stream**. One datagram at a time; at most 64 wait, the oldest dropped first. `None` is a plain
/// end: the flow is forgotten, and the next datagram may open it anew.
/// [`TunnelError::Unreachable`] means that the target refused the last datagrams.
pub trait DatagramStream:
    Sink<Bytes, Error = TunnelError> + Stream<Item = Result<Bytes, TunnelError>> + Send + Unpin
{
    /// The largest payload in bytes that this tunnel carries whole.
    fn max_datagram_size(&self) -> usize;
}
