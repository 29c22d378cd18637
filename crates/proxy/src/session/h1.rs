//! HTTP/1.1: one request after another, until one of them turns the connection into a tunnel.

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use pseudotcp_masque::Source;
use socket2::SockRef;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::io::{poll_read_buf, poll_write_buf};

use crate::client::{Io, Line};
use crate::head::{self, Head};
use crate::refusal::Refusal;
use crate::session::Client;
use crate::tunnel::Tunnel;

/// How much of a head is read at once; most are smaller.
const READ: usize = 2 * 1024;

/// How long a client is listened to that we have told the end.
const LINGER: Duration = Duration::from_secs(2);

/// Serves one client to the end of its connection.
pub(super) async fn run(
    client: Client,
    tls: Io,
    draining: watch::Receiver<bool>,
) -> Result<(), Source> {
    let mut session = Session { client, line: Line::new(tls), read: BytesMut::new(), draining };
    let mut patience = session.client.shared.limits.handshake_timeout;
    while let Some(head) = session.next_request(patience).await? {
        match session.serve(head).await? {
            Next::Request => patience = session.client.shared.limits.connection_idle,
            Next::Close => break,
            Next::CutOff => return session.cut_off().await,
        }
    }
    session.close().await
}

struct Session {
    client: Client,
    line: Line,
    /// What was read and not used yet.
    read: BytesMut,
    draining: watch::Receiver<bool>,
}

/// What comes behind a request.
enum Next {
    /// Perhaps another one.
    Request,
    /// The end.
    Close,
    /// The end, without saying so: the tunnel has said what there was to say.
    CutOff,
}

impl Session {
    /// Waits for a request. None comes from a client that is quiet for too long, or while the server
    /// drains, or behind nonsense.
    async fn next_request(&mut self, patience: Duration) -> Result<Option<Head>, Source> {
        let mut draining = self.draining.clone();
        if self.read.is_empty() {
            let read = tokio::select! {
                read = timeout(patience, self.read()) => read,
                _ = draining.wait_for(|draining| *draining) => return Ok(None),
            };
            match read {
                Ok(Ok(0)) | Err(_) => return Ok(None),
                Ok(read) => drop(read?),
            }
        }
        match timeout(self.client.shared.limits.handshake_timeout, self.read_head()).await {
            Ok(head) => head,
            Err(_) => self.refuse(Refusal::request_timeout(), false).await.map(|_| None),
        }
    }

    async fn read_head(&mut self) -> Result<Option<Head>, Source> {
        loop {
            match head::parse(&self.read) {
                Ok(Some((head, length))) => {
                    self.read.advance(length);
                    return Ok(Some(head));
                }
                Ok(None) if self.read().await? == 0 => return Ok(None),
                Ok(None) => {}
                Err(refusal) => return self.refuse(refusal, false).await.map(|_| None),
            }
        }
    }

    async fn serve(&mut self, head: Head) -> Result<Next, Source> {
        let Client { shared, lane, address } = &self.client;
        let tunnel = match Tunnel::admit(shared, lane, *address, &head.request) {
            Ok(tunnel) => tunnel,
            Err(refusal) => return self.refuse(refusal, head.keep_alive).await,
        };
        if tunnel.expects_continue {
            self.write("HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let mut sender = self.line.sender()?;
        let opened = tokio::select! {
            opened = tunnel.open() => opened,
            () = poll_fn(|cx| sender.poll_reset(cx)) => return Ok(Next::CutOff),
        };
        match opened {
            Ok(socket) => {
                self.write(&head::accepted(&tunnel.response(), tunnel.wish.protocol)).await?;
                // What came right behind the head belongs to the tunnel.
                let receiver = self.line.receiver(std::mem::take(&mut self.read));
                tunnel.carry(socket, receiver, sender).await;
                Ok(Next::CutOff)
            }
            Err(refusal) => self.refuse(refusal, head.keep_alive).await,
        }
    }

    async fn refuse(&mut self, refusal: Refusal, keep_alive: bool) -> Result<Next, Source> {
        let keep_alive = keep_alive && !*self.draining.borrow();
        self.write(&head::refused(&refusal.into_response(), keep_alive)).await?;
        Ok(if keep_alive { Next::Request } else { Next::Close })
    }

    async fn read(&mut self) -> io::Result<usize> {
        let Self { line, read, .. } = self;
        read.reserve(READ);
        poll_fn(|cx| poll_read_buf(Pin::new(&mut *line.io()), cx, read)).await
    }

    async fn write(&self, text: &str) -> io::Result<()> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            poll_fn(|cx| poll_write_buf(Pin::new(&mut *self.line.io()), cx, &mut rest)).await?;
        }
        poll_fn(|cx| Pin::new(&mut *self.line.io()).poll_flush(cx)).await
    }

    /// Says the end.
    async fn close(self) -> Result<(), Source> {
        poll_fn(|cx| Pin::new(&mut *self.line.io()).poll_shutdown(cx)).await?;
        self.linger().await
    }

    /// Ends the connection below TLS, which tells the client that something is missing unless it has
    /// heard the end before.
    async fn cut_off(self) -> Result<(), Source> {
        // The client may have been faster.
        let _ = SockRef::from(self.line.io().get_ref().0).shutdown(Shutdown::Write);
        self.linger().await
    }

    /// Hears the client out. The kernel resets a connection that is closed while something is unread,
    /// and a reset overtakes what was written last.
    async fn linger(self) -> Result<(), Source> {
        let ended = poll_fn(|cx| {
            let mut io = self.line.io();
            let mut scratch = [0; 4096];
            loop {
                let mut buffer = ReadBuf::new(&mut scratch);
                ready!(Pin::new(&mut *io.get_mut().0).poll_read(cx, &mut buffer))?;
                if buffer.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        });
        timeout(LINGER, ended).await.unwrap_or(Ok(())).map_err(|error: io::Error| error.into())
    }
}
