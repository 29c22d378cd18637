use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{SinkExt, StreamExt};

use crate::PacketPort;

/// The most packets of one batch.
const BATCH_PACKETS: usize = 64;
/// The most bytes of one batch.
const BATCH_BYTES: usize = 1024 * 1024;
/// The most batches of one poll, so that other tasks of the thread get their turn.
const BATCHES_PER_POLL: usize = 8;

/// Moves packets between two ports, both ways, until one of them ends.
///
/// In each direction packets move until the source is Pending or a batch (64 packets or 1 MiB) is
/// full; then the sink is flushed. A sink that is not ready leaves the source alone, so back-pressure
/// reaches the device. The future keeps no packet of its own: it can be dropped and made anew over
/// `&mut` ports at any time without losing one.
///
/// # Errors
///
/// The first I/O error of either port.
pub fn splice<A: PacketPort, B: PacketPort>(a: A, b: B) -> Splice<A, B> {
    Splice { a, b }
}

/// The future of [`splice`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Splice<A, B> {
    a: A,
    b: B,
}

/// What one batch in one direction came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Batch {
    /// The source or the sink would block.
    Dry,
    /// The batch is full; there may be more.
    Full,
    /// The source has ended.
    Ended,
}

impl<A: PacketPort, B: PacketPort> Future for Splice<A, B> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { a, b } = &mut *self;
        for _ in 0..BATCHES_PER_POLL {
            let there = move_batch(a, b, cx)?;
            let back = move_batch(b, a, cx)?;
            if there == Batch::Ended || back == Batch::Ended {
                return Poll::Ready(Ok(()));
            }
            if there == Batch::Dry && back == Batch::Dry {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn move_batch<S: PacketPort, D: PacketPort>(
    source: &mut S,
    sink: &mut D,
    cx: &mut Context<'_>,
) -> io::Result<Batch> {
    let batch = fill_batch(source, sink, cx)?;
    // A flush that would block has arranged its own wake-up; nothing here waits for it.
    if let Poll::Ready(flushed) = sink.poll_flush_unpin(cx) {
        flushed?;
    }
    Ok(batch)
}

fn fill_batch<S: PacketPort, D: PacketPort>(
    source: &mut S,
    sink: &mut D,
    cx: &mut Context<'_>,
) -> io::Result<Batch> {
    let mut bytes = 0;
    for _ in 0..BATCH_PACKETS {
        match poll_move_one(source, sink, cx) {
            Poll::Ready(Some(Ok(moved))) => bytes += moved,
            Poll::Ready(Some(Err(error))) => return Err(error),
            Poll::Ready(None) => return Ok(Batch::Ended),
            Poll::Pending => return Ok(Batch::Dry),
        }
        if bytes >= BATCH_BYTES {
            break;
        }
    }
    Ok(Batch::Full)
}

/// Moves one packet; Ready with its length in bytes.
fn poll_move_one<S: PacketPort, D: PacketPort>(
    source: &mut S,
    sink: &mut D,
    cx: &mut Context<'_>,
) -> Poll<Option<io::Result<usize>>> {
    ready!(sink.poll_ready_unpin(cx))?;
    let Some(packet) = ready!(source.poll_next_unpin(cx)).transpose()? else {
        return Poll::Ready(None);
    };
    let len = packet.total_len();
    sink.start_send_unpin(packet)?;
    Poll::Ready(Some(Ok(len)))
}
