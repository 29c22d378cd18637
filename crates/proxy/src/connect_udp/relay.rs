//! An open UDP tunnel: datagrams one way and the other, each whole or not at all.

use std::future::poll_fn;
use std::io::{self, ErrorKind::WouldBlock};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::Reason;
use nix::errno::Errno;
use pseudotcp_masque::datagram::{Decoder, Format};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::run::Run;
use crate::client::{Outbox, Receiver, Sender};
use crate::idle::IdleTimer;
use crate::serve::Shared;
use crate::tunnel::{End, Ended, Tunnel};

/// How long answers may still come after the client's `END_STREAM`, counted from the last one.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// More than any UDP payload.
const DATAGRAM: usize = 65_536;

/// From here on what was received is sent before more is read.
const BATCH: usize = 64 * 1024;

/// How many runs of datagrams go to the target, or batches come from it, before other tasks get their
/// turn.
const ROUND: usize = 64;

/// Carries datagrams both ways until the tunnel ends.
pub(crate) struct UdpRelay {
    upload: Upload,
    download: Download,
    idle: IdleTimer,
    /// Bytes to the target and from it.
    moved: (u64, u64),
    shared: Arc<Shared>,
}

impl UdpRelay {
    pub(crate) fn new(tunnel: &Tunnel, receiver: Receiver, sender: Sender) -> Self {
        let format = tunnel.wish.protocol.datagram_format();
        let shared = Arc::clone(&tunnel.shared);
        Self {
            upload: Upload::new(receiver, format),
            download: Download::new(sender, format),
            idle: IdleTimer::new(shared.limits.udp_idle),
            moved: (0, 0),
            shared,
        }
    }

    /// Runs to the end, and tells the client which one it was.
    pub(crate) async fn run(mut self, socket: UdpSocket) -> Ended {
        let end = tokio::select! {
            end = poll_fn(|cx| self.poll(cx, &socket)) => end,
            () = unreachable(&socket) => End::TargetGone,
        };
        let outbox = &mut self.download.outbox;
        match end {
            End::Clean | End::Idle => {
                drop(timeout(LAST_ANSWERS, poll_fn(|cx| outbox.poll_finish(cx))).await);
            }
            End::TargetGone => outbox.reset(Reason::CONNECT_ERROR),
            // RFC 9297 §3.3: a malformed capsule makes the whole message malformed.
            End::Malformed | End::Truncated => outbox.reset(Reason::PROTOCOL_ERROR),
            End::ClientGone => {}
        }
        let (up, down) = self.moved;
        Ended { end, up, down }
    }

    fn poll(&mut self, cx: &mut Context<'_>, socket: &UdpSocket) -> Poll<End> {
        if self.download.outbox.poll_reset(cx).is_ready() {
            return Poll::Ready(End::ClientGone);
        }
        let was_open = self.upload.open;
        let moved = self.upload.poll(cx, socket).and_then(|()| self.download.poll(cx, socket));
        self.account();
        if was_open && !self.upload.open {
            self.idle.shorten(LAST_ANSWERS);
        }
        match moved {
            Ok(()) => self.idle.poll(cx).map(|()| End::Idle),
            Err(end) => Poll::Ready(end),
        }
    }

    fn account(&mut self) {
        let up = std::mem::take(&mut self.upload.tally);
        let down = std::mem::take(&mut self.download.tally);
        let stats = &self.shared.stats;
        if up.datagrams + down.datagrams > 0 {
            self.idle.touch();
            stats.bytes_to_targets.inc_by(up.bytes);
            stats.bytes_from_targets.inc_by(down.bytes);
            self.moved = (self.moved.0 + up.bytes, self.moved.1 + down.bytes);
        }
        if up.dropped > 0 {
            stats.datagrams_dropped.inc_by(up.dropped);
        }
    }
}

/// What was moved since it was last looked at.
#[derive(Default)]
pub(super) struct Tally {
    datagrams: u64,
    bytes: u64,
    pub(super) dropped: u64,
}

impl Tally {
    pub(super) fn count(&mut self, bytes: usize) {
        self.datagrams += 1;
        self.bytes += bytes as u64;
    }
}

/// Capsules in, datagrams out.
struct Upload {
    receiver: Receiver,
    decoder: Decoder,
    chunk: Bytes,
    /// What leaves next, and a datagram that did not fit behind it.
    run: Run,
    waiting: Option<Bytes>,
    open: bool,
    tally: Tally,
}

impl Upload {
    fn new(receiver: Receiver, format: Format) -> Self {
        Self {
            receiver,
            decoder: Decoder::with_format(format),
            chunk: Bytes::new(),
            run: Run::new(),
            waiting: None,
            open: true,
            tally: Tally::default(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, socket: &UdpSocket) -> Result<(), End> {
        for _ in 0..ROUND {
            let more = self.fill(cx)?;
            match self.run.poll_send(cx, socket, &mut self.tally) {
                Poll::Ready(Ok(())) if more => {}
                Poll::Ready(Ok(())) | Poll::Pending => return Ok(()),
                Poll::Ready(Err(_)) => return Err(End::TargetGone),
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Adds to the run what fits; tells whether something waits that did not.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        while let Some(datagram) = self.next(cx)? {
            if !self.run.takes(&datagram) {
                self.waiting = Some(datagram);
                return Ok(true);
            }
            self.run.push(datagram);
        }
        Ok(false)
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Result<Option<Bytes>, End> {
        if let Some(datagram) = self.waiting.take() {
            return Ok(Some(datagram));
        }
        loop {
            if let Some(datagram) =
                self.decoder.decode(&mut self.chunk).map_err(|_| End::Malformed)?
            {
                return Ok(Some(datagram));
            }
            if !self.open {
                return Ok(None);
            }
            match self.receiver.poll_data(cx) {
                Poll::Ready(Some(Ok(chunk))) => self.take(chunk),
                Poll::Ready(Some(Err(gone))) => return Err(gone.into()),
                Poll::Ready(None) => {
                    self.decoder.finish().map_err(|_| End::Truncated)?;
                    self.open = false;
                }
                Poll::Pending => return Ok(None),
            }
        }
    }

    /// One chunk is held at a time, so its room may be given back now.
    fn take(&mut self, chunk: Bytes) {
        self.receiver.release(chunk.len());
        self.chunk = chunk;
    }
}

/// Datagrams in, capsules out. While the client's window is closed nothing is read, and the kernel
/// drops what its receive buffer does not hold.
struct Download {
    outbox: Outbox,
    format: Format,
    scratch: BytesMut,
    tally: Tally,
}

impl Download {
    fn new(sender: Sender, format: Format) -> Self {
        let (outbox, scratch) = (Outbox::new(sender), BytesMut::new());
        Self { outbox, format, scratch, tally: Tally::default() }
    }

    fn poll(&mut self, cx: &mut Context<'_>, socket: &UdpSocket) -> Result<(), End> {
        for _ in 0..ROUND {
            match self.outbox.poll_send(cx) {
                Poll::Ready(Ok(())) => self.receive(cx, socket)?,
                Poll::Ready(Err(gone)) => return Err(gone.into()),
                Poll::Pending => return Ok(()),
            }
            if self.outbox.waiting.is_empty() {
                return Ok(());
            }
            self.outbox.reserve();
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Fills the outbox with what is there; many datagrams leave in one DATA frame.
    fn receive(&mut self, cx: &mut Context<'_>, socket: &UdpSocket) -> Result<(), End> {
        while self.outbox.waiting.len() < BATCH {
            match socket.poll_recv_ready(cx) {
                Poll::Ready(Ok(())) => self.receive_one(socket)?,
                Poll::Ready(Err(_)) => return Err(End::TargetGone),
                Poll::Pending => {
                    // An idle tunnel keeps no buffer.
                    self.scratch = BytesMut::new();
                    break;
                }
            }
        }
        Ok(())
    }

    fn receive_one(&mut self, socket: &UdpSocket) -> Result<(), End> {
        self.scratch.clear();
        self.scratch.reserve(DATAGRAM);
        match socket.try_recv_buf(&mut self.scratch) {
            Ok(bytes) => {
                self.format.encode(&self.scratch, &mut self.outbox.waiting);
                self.tally.count(bytes);
                Ok(())
            }
            Err(error) if is_passing(&error) => Ok(()),
            Err(_) => Err(End::TargetGone),
        }
    }
}

/// Ready when an ICMP error was heard. It makes the socket neither readable nor writable, so nobody
/// else would notice it while no datagram moves.
async fn unreachable(socket: &UdpSocket) {
    while socket.ready(Interest::ERROR).await.is_ok() {
        match socket.take_error() {
            Ok(Some(error)) if !is_passing(&error) => return,
            // Waits for the next error; the kernel reports each once.
            _ => drop(socket.try_io(Interest::ERROR, || Err::<(), _>(WouldBlock.into()))),
        }
    }
}

/// Whether an error concerns one datagram only; any other is what ICMP said of the target.
pub(super) fn is_passing(error: &io::Error) -> bool {
    let Some(code) = error.raw_os_error() else {
        return error.kind() == WouldBlock;
    };
    matches!(
        Errno::from_raw(code),
        Errno::EAGAIN
            | Errno::EINTR
            | Errno::EINVAL
            | Errno::EMSGSIZE
            | Errno::ENOBUFS
            | Errno::ENOMEM
            | Errno::EPERM
    )
}
