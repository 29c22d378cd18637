//! One request on a connection of HTTP/1.1.

use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use h2::ext::Protocol;
use http::{Method, Request, Uri};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::head::{HeadError, ResponseHead};
use crate::connection::Owner;
use crate::dial::BoxIo;

/// How many interim responses are read before the proxy is taken for hostile.
const MAX_INTERIM: usize = 16;

/// The room that is made for a head, in bytes.
const USUAL_HEAD: usize = 4 * 1024;

/// A connection that takes one flow.
pub(crate) struct Http1 {
    pub(crate) io: BoxIo,
    /// Held for as long as the connection lives.
    pub(crate) place: Place,
}

/// A place among the connections of a client, until dropped.
pub(crate) struct Place {
    owner: Weak<dyn Owner>,
    _count: Arc<()>,
}

impl Place {
    /// A place counted by the references to `count`.
    pub(crate) fn new(owner: Weak<dyn Owner>, count: Arc<()>) -> Self {
        Self { owner, _count: count }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(owner) = self.owner.upgrade() {
            owner.room();
        }
    }
}

impl Http1 {
    /// Whether the proxy has closed it, or said something nobody asked for.
    pub(crate) fn is_stale(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let cx = &mut Context::from_waker(Waker::noop());
        !matches!(Pin::new(&mut self.io).poll_read(cx, &mut buffer), Poll::Pending)
    }
}

impl AsyncRead for Http1 {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Http1 {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Why an exchange came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("the proxy closed the connection before it answered")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Head(#[from] HeadError),
}

/// Sends a request and reads the final response's head; what follows it comes with it.
pub(crate) async fn exchange(
    io: &mut BoxIo,
    request: &Request<()>,
) -> Result<(ResponseHead, Bytes), ExchangeError> {
    io.write_all(&write_head(request)).await?;
    io.flush().await?;
    // Room for any usual head, and for what a refusal says behind it.
    let mut bytes = BytesMut::with_capacity(USUAL_HEAD);
    let mut interim = 0;
    loop {
        if let Some((head, length)) = ResponseHead::parse(&bytes)? {
            let rest = bytes.split_off(length);
            // RFC 9110 §15.2: interim responses precede the final one; 101 is final for us.
            if !head.status.is_informational() || head.status.as_u16() == 101 {
                return Ok((head, rest.freeze()));
            }
            bytes = rest;
            interim += 1;
            if interim > MAX_INTERIM {
                return Err(HeadError::TooLarge.into());
            }
        } else if io.read_buf(&mut bytes).await? == 0 {
            return Err(ExchangeError::Closed);
        }
    }
}

/// The head of a request, in the terms of HTTP/1.1: an extended CONNECT becomes an Upgrade.
fn write_head(request: &Request<()>) -> Vec<u8> {
    let (uri, mut head) = (request.uri(), String::new());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    // Writing to a string cannot fail.
    let _ = if let Some(protocol) = request.extensions().get::<Protocol>() {
        // RFC 9298 §3.2.
        write!(
            head,
            "GET {} HTTP/1.1\r\nhost: {authority}\r\nconnection: upgrade\r\nupgrade: {}\r\n",
            path(uri),
            protocol.as_str(),
        )
    } else if request.method() == Method::CONNECT {
        // RFC 9110 §9.3.6: the authority is both target and host.
        write!(head, "CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n")
    } else {
        write!(head, "{} {uri} HTTP/1.1\r\nhost: {authority}\r\n", request.method())
    };
    let mut head = head.into_bytes();
    for (name, value) in request.headers() {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    head
}

fn path(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |path| path.as_str())
}
