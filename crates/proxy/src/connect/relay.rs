//! An open TCP tunnel: both directions, and how they end.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::Reason;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Receiver, Sender};
use crate::connect::download::Download;
use crate::connect::framing::{Inbound, Outbound};
use crate::connect::upload::Upload;
use crate::idle::IdleTimer;
use crate::request::Protocol;
use crate::serve::Shared;
use crate::tunnel::{End, Ended, Tunnel};

/// How long the client may take for what the target said before its reset.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// Carries bytes both ways until the tunnel ends.
pub(crate) struct Relay {
    upload: Upload,
    download: Download,
    idle: IdleTimer,
    /// The target is gone, and its last words are on their way.
    leaving: bool,
    shared: Arc<Shared>,
}

impl Relay {
    pub(crate) fn new(tunnel: &Tunnel, receiver: Receiver, sender: Sender) -> Self {
        let in_capsules = tunnel.wish.protocol == Protocol::ConnectTcp;
        let outbound = if in_capsules { Outbound::Capsules } else { Outbound::Plain };
        let shared = Arc::clone(&tunnel.shared);
        Self {
            upload: Upload::new(Inbound::new(receiver, in_capsules), Arc::clone(&tunnel.lane)),
            download: Download::new(sender, outbound),
            idle: IdleTimer::new(shared.limits.tcp_idle),
            leaving: false,
            shared,
        }
    }

    /// Runs to the end, and tells both sides which one it was.
    pub(crate) async fn run(mut self, socket: TcpStream) -> Ended {
        let mut target = Target { socket, clean: false };
        let end = {
            let mut reset = pin!(target.socket.ready(Interest::ERROR));
            poll_fn(|cx| self.poll(cx, &target.socket, reset.as_mut())).await
        };
        let outbox = &mut self.download.outbox;
        match end {
            End::Clean => {
                target.clean = true;
                let _ = timeout(LAST_WORDS, poll_fn(|cx| self.download.poll_close(cx))).await;
            }
            // RFC 9113 §8.5: a TCP error becomes CONNECT_ERROR.
            End::TargetGone | End::Truncated => outbox.reset(Reason::CONNECT_ERROR),
            // RFC 9297 §3.3: a malformed capsule makes the whole message malformed.
            End::Malformed => outbox.reset(Reason::PROTOCOL_ERROR),
            End::Idle => outbox.reset(Reason::CANCEL),
            End::ClientGone => {}
        }
        Ended { end, up: self.upload.written() as u64, down: self.download.read() as u64 }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        target: &TcpStream,
        reset: Pin<&mut impl Future>,
    ) -> Poll<End> {
        if self.download.outbox.poll_reset(cx).is_ready() {
            return Poll::Ready(End::ClientGone);
        }
        let before = (self.upload.written(), self.download.read());
        let end = self.poll_both(cx, target, reset);
        self.account(before);
        match end {
            Poll::Ready(End::TargetGone) => self.poll_last_words(cx),
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => self.idle.poll(cx).map(|()| End::Idle),
        }
    }

    fn poll_both(
        &mut self,
        cx: &mut Context<'_>,
        target: &TcpStream,
        reset: Pin<&mut impl Future>,
    ) -> Poll<End> {
        let up = match self.upload.poll(cx, target) {
            Poll::Ready(Err(end)) => return Poll::Ready(end),
            up => up,
        };
        if self.leaving {
            return Poll::Ready(End::TargetGone);
        }
        match (up, self.download.poll(cx, target, self.upload.is_broken())) {
            (_, Poll::Ready(Err(end))) => Poll::Ready(end),
            (Poll::Ready(_), Poll::Ready(Ok(()))) => Poll::Ready(End::Clean),
            (Poll::Pending, Poll::Ready(Ok(()))) if self.upload.is_broken() => {
                Poll::Ready(End::TargetGone)
            }
            // Nobody reads any more who would notice a reset.
            (Poll::Pending, Poll::Ready(Ok(()))) => reset.poll(cx).map(|_| End::TargetGone),
            _ => Poll::Pending,
        }
    }

    /// The target is gone. What it said before still reaches the client, if that reads on.
    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if !self.leaving {
            self.leaving = true;
            self.idle.shorten(LAST_WORDS);
        }
        match self.download.outbox.poll_written(cx) {
            Poll::Ready(()) => Poll::Ready(End::TargetGone),
            Poll::Pending => self.idle.poll(cx).map(|()| End::TargetGone),
        }
    }

    fn account(&mut self, before: (usize, usize)) {
        let (up, down) = (self.upload.written() - before.0, self.download.read() - before.1);
        if up + down > 0 {
            self.idle.touch();
            self.shared.stats.bytes_to_targets.inc_by(up as u64);
            self.shared.stats.bytes_from_targets.inc_by(down as u64);
        }
    }
}

/// The target's socket. Unless the tunnel ended cleanly, the target hears a reset: a FIN would say
/// that it has heard everything.
struct Target {
    socket: TcpStream,
    clean: bool,
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.clean {
            let _ = self.socket.set_zero_linger();
        }
    }
}
