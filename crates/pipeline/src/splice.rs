use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{SinkExt, StreamExt};

use crate::PacketPort;
use crate::busy_poll::BusyPoll;

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
    Splice { a, b, busy: BusyPoll::default() }
}

/// The future of [`splice`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Splice<A, B> {
    a: A,
    b: B,
    busy: BusyPoll,
}

impl<A: PacketPort, B: PacketPort> Splice<A, B> {
    /// After packets have moved, looks for more for so long before the task sleeps (by default not at
    /// all). What comes meanwhile is found within a microsecond or two, where a thread that sleeps is
    /// woken after tens of them; it costs as much processor time after every burst, and up to a whole
    /// core under steady traffic. Other tasks of the thread get their turns.
    pub fn busy_poll(self, limit: Duration) -> Self {
        Self { busy: BusyPoll::new(limit), ..self }
    }
}

/// What was moved in one direction.
struct Moved {
    bytes: usize,
    batch: Batch,
}

/// What one batch in one direction came to.
#[derive(Clone, Copy)]
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
        let Self { a, b, busy } = &mut *self;
        for _ in 0..BATCHES_PER_POLL {
            let there = move_batch(a, b, cx)?;
            let back = move_batch(b, a, cx)?;
            if there.bytes + back.bytes > 0 {
                busy.moved();
            }
            match (there.batch, back.batch) {
                (Batch::Ended, _) | (_, Batch::Ended) => return Poll::Ready(Ok(())),
                (Batch::Dry, Batch::Dry) => {
                    busy.look_again(cx);
                    return Poll::Pending;
                }
                _ => {}
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
) -> io::Result<Moved> {
    let moved = fill_batch(source, sink, cx)?;
    // A flush that would block has arranged its own wake-up; nothing here waits for it.
    if let Poll::Ready(flushed) = sink.poll_flush_unpin(cx) {
        flushed?;
    }
    Ok(moved)
}

fn fill_batch<S: PacketPort, D: PacketPort>(
    source: &mut S,
    sink: &mut D,
    cx: &mut Context<'_>,
) -> io::Result<Moved> {
    let mut bytes = 0;
    for _ in 0..BATCH_PACKETS {
        match poll_move_one(source, sink, cx) {
            Poll::Ready(Some(Ok(moved))) => bytes += moved,
            Poll::Ready(Some(Err(error))) => return Err(error),
            Poll::Ready(None) => return Ok(Moved { bytes, batch: Batch::Ended }),
            Poll::Pending => return Ok(Moved { bytes, batch: Batch::Dry }),
        }
        if bytes >= BATCH_BYTES {
            break;
        }
    }
    Ok(Moved { bytes, batch: Batch::Full })
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
