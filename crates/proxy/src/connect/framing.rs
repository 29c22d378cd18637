//! How the bytes of a TCP tunnel lie in its stream: as they are with CONNECT, in DATA capsules with
//! connect-tcp (draft-ietf-httpbis-connect-tcp).

use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use pseudotcp_masque::bytestream::{Decoder, END, HEAD_LEN, data_head};

use crate::client::Receiver;
use crate::tunnel::End;

/// The bytes that a client sends.
pub(crate) struct Inbound {
    receiver: Receiver,
    capsules: Option<Capsules>,
}

#[derive(Default)]
struct Capsules {
    decoder: Decoder,
    chunk: Bytes,
}

impl Inbound {
    pub(crate) fn new(receiver: Receiver, in_capsules: bool) -> Self {
        Self { receiver, capsules: in_capsules.then(Capsules::default) }
    }

    /// The next bytes; `None` when the client has said that no more will come.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, End>>> {
        let Self { receiver, capsules: Some(Capsules { decoder, chunk }) } = self else {
            return self.receiver.poll_data(cx).map(|data| data.map(|d| d.map_err(End::from)));
        };
        while !decoder.is_finished() {
            let before = chunk.len();
            let bytes = decoder.decode(chunk).map_err(|_| End::Malformed)?;
            // Heads and capsules of other types go no further.
            receiver.release(before - chunk.len() - bytes.as_ref().map_or(0, Bytes::len));
            if let Some(bytes) = bytes {
                return Poll::Ready(Some(Ok(bytes)));
            }
            if !decoder.is_finished() {
                *chunk = match ready!(receiver.poll_data(cx)) {
                    Some(data) => data?,
                    None => return Poll::Ready(Some(Err(End::Truncated))),
                };
            }
        }
        Poll::Ready(None)
    }

    /// Opens the client's window again.
    pub(crate) fn release(&mut self, bytes: usize) {
        self.receiver.release(bytes);
    }
}

/// The bytes that a client receives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outbound {
    Plain,
    Capsules,
}

impl Outbound {
    /// Leaves room for a head, if there is one, in the empty `buffer`.
    pub(crate) fn begin(self, buffer: &mut BytesMut) {
        if self == Self::Capsules {
            buffer.put_bytes(0, HEAD_LEN);
        }
    }

    /// Writes the head, now that it is known how many bytes are behind it.
    pub(crate) fn complete(self, buffer: &mut BytesMut, length: usize) {
        if self == Self::Capsules
            && let Some(head) = buffer.first_chunk_mut()
        {
            *head = data_head(u32::try_from(length).unwrap_or(0));
        }
    }

    /// What says that no more bytes will come, besides the end of the stream.
    pub(crate) fn end(self) -> &'static [u8] {
        match self {
            Self::Plain => &[],
            Self::Capsules => &END,
        }
    }
}
