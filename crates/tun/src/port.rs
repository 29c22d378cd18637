use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Sink, Stream};
use pseudotcp_packet::{Checksum, Heads, Packet};
use smallvec::SmallVec;
use tokio::time::Sleep;

use crate::device::Device;
use crate::offload::{HEADER_LEN, Offload, VirtioHeader};
use crate::pool::Pool;

/// A packet port on a descriptor that carries one packet a system call.
///
/// **Stream**: packets of the device, super-segments whole, until it has none; what does not parse
/// is counted and skipped. `None` is the end of an adopted socket; a TUN interface that was deleted
/// ends with an error.
///
/// **Sink**: `start_send` writes at once. A packet that the kernel does not take now waits in the
/// port's one slot, and `poll_ready` is Ready exactly when that slot is empty; `poll_flush` waits for
/// the same. A packet that the kernel will never take is dropped and counted. Nothing is split other
/// than into its own segments.
///
/// Create and use it within a tokio runtime that has I/O and time enabled. Dropping it closes the
/// descriptor, and with it removes the interface that [`LinuxTun`](crate::LinuxTun) created.
pub struct TunPort {
    device: Device,
    offload: Option<Offload>,
    name: Option<String>,
    mtu: u32,
    buffer: BytesMut,
    /// What large packets leave in, and what the others are copied to.
    large: Pool,
    small: [Pool; SMALL_CLASSES],
    waiting: Option<Waiting>,
    /// Of packets that are cut here.
    heads: Heads,
    counters: Counters,
}

/// What one read came to.
enum Received {
    Packet(Packet),
    Malformed,
    End,
}

/// A packet that the kernel has not taken yet, or only the first segments of it.
struct Waiting {
    packet: Packet,
    segments_written: usize,
    /// Set while the kernel has no memory: it does not announce when it has some again.
    pause: Option<Pin<Box<Sleep>>>,
}

/// Room for the largest packet, which is more than a 16-bit length: an IPv6 header and its payload.
const BUFFER_LEN: usize = 40 + 65_535;

/// Packets of up to 16 KiB are copied into a buffer of 64, 128, … octets, at most twice as large as
/// they. Larger ones leave in the buffer they were read into, at most four times as large.
const SMALLEST: usize = 64;
const SMALL_CLASSES: usize = 9;

/// How many buffers of a size serve again: as many as a batch has packets, or 1 MiB.
const LARGE_KEPT: usize = 16;
const SMALL_KEPT: usize = 64;

/// Packets skipped in one poll before others get their turn.
const MAX_SKIPPED: usize = 64;

/// How long to leave a kernel alone that has no memory for a packet.
const NO_MEMORY_PAUSE: Duration = Duration::from_millis(1);

/// The virtio header, the packet's head and up to 16 body slices.
type Slices<'a> = SmallVec<[IoSlice<'a>; 18]>;

impl TunPort {
    pub(crate) fn new(
        fd: OwnedFd,
        offload: Option<Offload>,
        name: Option<String>,
        mtu: u32,
    ) -> io::Result<Self> {
        Ok(Self {
            device: Device::new(fd)?,
            offload,
            name,
            mtu,
            buffer: BytesMut::new(),
            large: Pool::new(BUFFER_LEN, LARGE_KEPT),
            small: std::array::from_fn(|class| Pool::new(SMALLEST << class, SMALL_KEPT)),
            waiting: None,
            heads: Heads::default(),
            counters: Counters::default(),
        })
    }

    /// The interface's name; `None` for an adopted descriptor.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The largest packet in bytes that the device carries uncut.
    pub fn mtu(&self) -> u32 {
        self.mtu
    }

    /// Whether the kernel takes and gives TCP super-segments.
    pub fn has_tcp_offload(&self) -> bool {
        self.offload.is_some()
    }

    /// Whether the kernel takes and gives UDP super-datagrams.
    pub fn has_udp_offload(&self) -> bool {
        self.offload.is_some_and(|offload| offload.udp)
    }

    /// What went wrong so far; the handle stays valid when the port has moved elsewhere.
    pub fn counters(&self) -> Counters {
        self.counters.clone()
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
        self.buffer.reserve(BUFFER_LEN);
        let mut header = [0; HEADER_LEN];
        let expected = if self.offload.is_some() { HEADER_LEN } else { 0 };
        let (used, _) = header.split_at_mut(expected);
        let read = ready!(self.device.poll_read(cx, used, &mut self.buffer))?;
        if read == 0 {
            return Poll::Ready(Ok(Received::End));
        }
        let (bytes, pinned) = self.take_read();
        let meaning = match self.offload {
            Some(_) => VirtioHeader::decode(header).meaning(),
            None => Some((Checksum::Complete, None)),
        };
        let packet = meaning.and_then(|(checksum, segment_size)| {
            Packet::parse_offloaded(bytes, checksum, segment_size).ok()
        });
        let packet = packet.map(|packet| packet.with_pinned(pinned));
        Poll::Ready(Ok(packet.map_or(Received::Malformed, Received::Packet)))
    }

    /// What was read last, in memory that is at most four times as large, and how large that is.
    fn take_read(&mut self) -> (Bytes, usize) {
        let Some(pool) = self.small.iter_mut().find(|pool| pool.size() >= self.buffer.len()) else {
            let next = self.large.take();
            let read = std::mem::replace(&mut self.buffer, next);
            return (self.large.lend(read), self.large.size());
        };
        let mut copy = pool.take();
        copy.extend_from_slice(&self.buffer);
        self.buffer.clear();
        (pool.lend(copy), pool.size())
    }

    /// Writes what waits, until the slot is empty.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(waiting) = &mut self.waiting {
            if let Some(pause) = &mut waiting.pause {
                ready!(pause.as_mut().poll(cx));
                waiting.pause = None;
            } else {
                ready!(self.device.poll_writable(cx))?;
            }
            if let Some(waiting) = self.waiting.take() {
                self.write(waiting)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes a packet, or what is left of it, and keeps what the kernel does not take now.
    fn write(&mut self, mut waiting: Waiting) -> io::Result<()> {
        let Err(error) = self.write_segments(&mut waiting) else { return Ok(()) };
        match error.raw_os_error() {
            Some(libc::ENOBUFS | libc::ENOMEM) => {
                waiting.pause = Some(Box::pin(tokio::time::sleep(NO_MEMORY_PAUSE)));
            }
            _ if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => return Err(error),
        }
        count(&self.counters.0.stalled);
        self.waiting = Some(waiting);
        Ok(())
    }

    fn write_segments(&mut self, waiting: &mut Waiting) -> io::Result<()> {
        let header = self.offload.map(|offload| VirtioHeader::of(&waiting.packet, offload));
        match header {
            Some(Some(header)) => self.write_one(&header.encode(), &waiting.packet),
            Some(None) => self.write_cut(&VirtioHeader::default().encode(), waiting),
            None => self.write_cut(&[], waiting),
        }
    }

    /// Cuts the packet in software and writes its segments one by one.
    fn write_cut(&mut self, header: &[u8], waiting: &mut Waiting) -> io::Result<()> {
        let mut heads = std::mem::take(&mut self.heads);
        let mut written = waiting.packet.segments_in(&mut heads).skip(waiting.segments_written);
        let result = written.try_for_each(|segment| {
            self.write_one(header, &segment)?;
            waiting.segments_written += 1;
            Ok(())
        });
        drop(written);
        self.heads = heads;
        result
    }

    fn write_one(&self, header: &[u8], packet: &Packet) -> io::Result<()> {
        let mut slices = Slices::new();
        slices.push(IoSlice::new(header));
        slices.push(IoSlice::new(packet.head()));
        slices.extend(packet.body().iter().map(|slice| IoSlice::new(slice)));
        match self.device.try_write(&slices) {
            Err(error) if is_about_the_packet(&error) => {
                count(&self.counters.0.dropped);
                Ok(())
            }
            result => result.map(|_| ()),
        }
    }
}

/// Errors that the packet earned, or an interface that is down: the next packet may pass.
fn is_about_the_packet(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EMSGSIZE | libc::EIO | libc::EPERM | libc::ENETDOWN)
    )
}

impl Stream for TunPort {
    type Item = io::Result<Packet>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let port = self.get_mut();
        for _ in 0..MAX_SKIPPED {
            match ready!(port.poll_receive(cx))? {
                Received::Packet(packet) => return Poll::Ready(Some(Ok(packet))),
                Received::Malformed => count(&port.counters.0.malformed),
                Received::End => return Poll::Ready(None),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Sink<Packet> for TunPort {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drain(cx)
    }

    fn start_send(self: Pin<&mut Self>, packet: Packet) -> io::Result<()> {
        let port = self.get_mut();
        if port.waiting.is_some() {
            // Only a caller that did not ask `poll_ready` comes here.
            count(&port.counters.0.dropped);
            return Ok(());
        }
        port.write(Waiting { packet, segments_written: 0, pause: None })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drain(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drain(cx)
    }
}

impl fmt::Debug for TunPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunPort")
            .field("name", &self.name)
            .field("mtu", &self.mtu)
            .field("offload", &self.offload)
            .finish_non_exhaustive()
    }
}

/// A handle to what a [`TunPort`] counts; clones count the same.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    malformed: AtomicU64,
    dropped: AtomicU64,
    stalled: AtomicU64,
}

/// What a [`TunPort`] has counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Packets of the device that are not well-formed IP, and were skipped.
    pub malformed: u64,
    /// Packets that the device refused for good, for instance while its interface was down.
    pub dropped: u64,
    /// Times that the device took no packet and one had to wait.
    pub stalled: u64,
}

impl Counters {
    /// The counts as they are now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            malformed: self.0.malformed.load(Relaxed),
            dropped: self.0.dropped.load(Relaxed),
            stalled: self.0.stalled.load(Relaxed),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
