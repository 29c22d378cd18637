use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{SinkExt, StreamExt};

use crate::busy_poll::BusyPoll;
use crate::{Direction, PacketPort};

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
    /// Before the task sleeps, looks for more for so long (by default not at all), while both sides
    /// answer each other in shorter pauses. What comes meanwhile is found within a microsecond or two,
    /// where a thread that sleeps is woken after tens of them. What only streams one way, or with longer
    /// pauses, is not looked for; other tasks and threads that want the core have it first.
    pub fn busy_poll(self, limit: Duration) -> Self {
        Self { busy: BusyPoll::new(limit), ..self }
    }
}

/// What was moved in one direction.
#[derive(Default)]
struct Moved {
    bytes: usize,
    /// Those that are no headers.
    payload: usize,
    batch: Batch,
}

impl Moved {
    fn tell(&self, busy: &mut BusyPoll, way: Direction) {
        if self.bytes > 0 {
            busy.moved();
        }
        if self.payload > 0 {
            busy.spoke(way);
        }
    }
}

/// What one batch in one direction came to.
#[derive(Clone, Copy, Default)]
enum Batch {
    /// The batch is full; there may be more.
    #[default]
    Full,
    /// The source or the sink would block.
    Dry,
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
            for (moved, way) in [(&there, Direction::Out), (&back, Direction::In)] {
                moved.tell(busy, way);
            }
            match (there.batch, back.batch) {
                (Batch::Ended, _) | (_, Batch::Ended) => return Poll::Ready(Ok(())),
                (Batch::Dry, Batch::Dry) => {
                    busy.dry(cx);
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
    let mut moved = Moved::default();
    for _ in 0..BATCH_PACKETS {
        match poll_move_one(source, sink, &mut moved, cx) {
            Poll::Ready(Some(Ok(()))) => {}
            Poll::Ready(Some(Err(error))) => return Err(error),
            Poll::Ready(None) => return Ok(Moved { batch: Batch::Ended, ..moved }),
            Poll::Pending => return Ok(Moved { batch: Batch::Dry, ..moved }),
        }
        if moved.bytes >= BATCH_BYTES {
            break;
        }
    }
    Ok(moved)
}

fn poll_move_one<S: PacketPort, D: PacketPort>(
    source: &mut S,
    sink: &mut D,
    moved: &mut Moved,
    cx: &mut Context<'_>,
) -> Poll<Option<io::Result<()>>> {
    ready!(sink.poll_ready_unpin(cx))?;
    let Some(packet) = ready!(source.poll_next_unpin(cx)).transpose()? else {
        return Poll::Ready(None);
    };
    moved.bytes += packet.total_len();
    moved.payload += packet.payload_len();
    Poll::Ready(Some(sink.start_send_unpin(packet)))
}
