//! An open TCP tunnel: both directions, and how they end.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Reason, RecvStream, SendStream};
use tokio::net::TcpStream;

use crate::credit::Lane;
use crate::data::Data;
use crate::download::Download;
use crate::idle::IdleTimer;
use crate::serve::Shared;
use crate::upload::Upload;

/// How long the client may take for what the target said before its reset.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides said that they had no more to say.
    Clean,
    /// The target reset the connection, or the network did.
    TargetReset,
    /// The client reset the stream, or its connection is gone.
    ClientGone,
    /// Nothing moved for too long.
    Idle,
}

/// Carries bytes both ways until the tunnel ends.
pub(crate) struct Relay {
    target: Target,
    upload: Upload,
    download: Download,
    idle: IdleTimer,
    /// The target is gone, and its last words are on their way.
    leaving: bool,
    shared: Arc<Shared>,
}

impl Relay {
    pub(crate) fn new(
        shared: Arc<Shared>,
        lane: Arc<Lane>,
        target: TcpStream,
        receive: RecvStream,
        send: SendStream<Data>,
    ) -> Self {
        Self {
            target: Target { socket: target, clean: false },
            upload: Upload::new(receive, lane),
            download: Download::new(send),
            idle: IdleTimer::new(shared.limits.tcp_idle),
            leaving: false,
            shared,
        }
    }

    /// Runs to the end, and tells both sides which one it was.
    pub(crate) async fn run(mut self) -> End {
        let end = poll_fn(|cx| self.poll(cx)).await;
        match end {
            End::Clean => self.target.clean = true,
            // RFC 9113 §8.5: a TCP error becomes CONNECT_ERROR.
            End::TargetReset => self.download.outbox.reset(Reason::CONNECT_ERROR),
            End::Idle => self.download.outbox.reset(Reason::CANCEL),
            End::ClientGone => {}
        }
        end
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.download.outbox.poll_reset(cx).is_ready() {
            return Poll::Ready(End::ClientGone);
        }
        let before = (self.upload.written(), self.download.outbox.sent());
        let end = self.poll_both(cx);
        self.account(before);
        match end {
            Poll::Ready(End::TargetReset) if !self.leaving => self.leave(cx),
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => self.idle.poll(cx).map(|()| End::Idle),
        }
    }

    /// The target is gone. What it said before still reaches the client, if the client reads on.
    fn leave(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.leaving = true;
        self.idle.shorten(LAST_WORDS);
        self.poll(cx)
    }

    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let up = match self.upload.poll(cx, &mut self.target.socket) {
            Poll::Ready(Err(end)) => return Poll::Ready(end),
            up => up,
        };
        if self.leaving {
            return self.download.outbox.poll_written(cx).map(|()| End::TargetReset);
        }
        let broken = self.upload.is_broken();
        match (up, self.download.poll(cx, &self.target.socket, broken)) {
            (_, Poll::Ready(Err(end))) => Poll::Ready(end),
            (Poll::Ready(_), Poll::Ready(Ok(()))) => Poll::Ready(End::Clean),
            // All that the target said has been passed on; now the client may hear of its end.
            (Poll::Pending, Poll::Ready(Ok(()))) if broken => Poll::Ready(End::TargetReset),
            _ => Poll::Pending,
        }
    }

    fn account(&mut self, before: (usize, usize)) {
        let (up, down) = (self.upload.written() - before.0, self.download.outbox.sent() - before.1);
        if up + down > 0 {
            self.idle.touch();
            self.shared.stats.bytes_to_targets.add(up);
            self.shared.stats.bytes_from_targets.add(down);
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
