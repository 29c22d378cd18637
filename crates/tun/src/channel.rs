//! Two packet ports joined in memory: what goes into one comes out of the other.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::mpsc::{self, Receiver, Sender};
use futures::{Sink, Stream};
use pseudotcp_packet::Packet;

/// Two joined ports. Each direction holds at most `capacity` packets (one at least); then
/// `poll_ready` is Pending until the other end takes one. Packets pass unchanged and uncopied.
pub fn pair(capacity: usize) -> (ChannelPort, ChannelPort) {
    // The channel grants each sender one place of its own on top of the number given.
    let shared = capacity.saturating_sub(1);
    let (to_right, from_left) = mpsc::channel(shared);
    let (to_left, from_right) = mpsc::channel(shared);
    let left = ChannelPort { outgoing: to_right, incoming: from_right };
    let right = ChannelPort { outgoing: to_left, incoming: from_left };
    (left, right)
}

/// One end of a [`pair`].
///
/// When it is dropped, or closed as a sink, the other end's stream ends after what is still queued;
/// sending to an end that was dropped fails with `BrokenPipe`.
#[derive(Debug)]
pub struct ChannelPort {
    outgoing: Sender<Packet>,
    incoming: Receiver<Packet>,
}

fn broken_pipe(_: mpsc::SendError) -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl Stream for ChannelPort {
    type Item = io::Result<Packet>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.incoming).poll_next(cx).map(|packet| packet.map(Ok))
    }
}

impl Sink<Packet> for ChannelPort {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_ready(cx).map_err(broken_pipe)
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Packet) -> io::Result<()> {
        self.outgoing.start_send(packet).map_err(broken_pipe)
    }

    /// Ready at once: a queued packet is already at the other end.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.close_channel();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{FutureExt, SinkExt, StreamExt};
    use pseudotcp_packet::build::datagram;

    use super::*;

    fn packet(mark: u8) -> Packet {
        let (from, to) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
        datagram(from, to, Bytes::from(vec![mark; 100]), None).unwrap()
    }

    fn mark(packet: &Packet) -> u8 {
        packet.body()[0][0]
    }

    #[tokio::test]
    async fn packets_cross_uncopied_and_in_order() {
        let (mut left, mut right) = pair(4);
        let sent = packet(1);
        left.send(sent.clone()).await.unwrap();
        left.send(packet(2)).await.unwrap();
        let received = right.next().await.unwrap().unwrap();
        assert_eq!(received.body()[0].as_ptr(), sent.body()[0].as_ptr());
        assert_eq!(mark(&right.next().await.unwrap().unwrap()), 2);
        right.send(packet(3)).await.unwrap();
        assert_eq!(mark(&left.next().await.unwrap().unwrap()), 3);
    }

    #[tokio::test]
    async fn a_full_queue_is_pending_until_the_other_end_takes_one() {
        for capacity in [1, 2, 5] {
            let (mut left, mut right) = pair(capacity);
            for _ in 0..capacity {
                assert!(left.send(packet(1)).now_or_never().is_some());
            }
            let mut blocked = Box::pin(left.send(packet(9)));
            assert!((&mut blocked).now_or_never().is_none(), "capacity {capacity}");
            right.next().await.unwrap().unwrap();
            blocked.await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_end_of_one_port_is_seen_by_the_other() {
        let (mut left, mut right) = pair(2);
        left.send(packet(1)).await.unwrap();
        left.close().await.unwrap();
        assert!(right.next().await.unwrap().is_ok());
        assert!(right.next().await.is_none());
        drop(left);
        let error = right.send(packet(2)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
