//! A link with a length and a width, in virtual time.

use std::time::Duration;

use tokio::io::{
    AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// What every byte meets on its way.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    /// One way.
    pub(crate) delay: Duration,
    pub(crate) bytes_per_second: u32,
}

/// How many bytes enter the link at once at the most.
const PIECE: usize = 64 * 1024;

/// How many pieces are under way at the most: more than any window of HTTP/2 lets be.
const PIECES: usize = 1 << 16;

impl Link {
    /// The other end of a link that begins at `far`.
    pub(crate) fn lead_to(self, far: DuplexStream) -> DuplexStream {
        let (near, behind) = duplex(PIECE);
        let ((near_in, near_out), (far_in, far_out)) = (split(behind), split(far));
        tokio::spawn(self.carry(near_in, far_out));
        tokio::spawn(self.carry(far_in, near_out));
        near
    }

    async fn carry(self, mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>) {
        let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
        let enter = async move {
            let mut free = Instant::now();
            loop {
                let mut piece = Vec::with_capacity(PIECE);
                if from.read_buf(&mut piece).await.is_ok_and(|read| read > 0) {
                    let share = f64::from(u32::try_from(piece.len()).unwrap())
                        / f64::from(self.bytes_per_second);
                    free = free.max(Instant::now()) + Duration::from_secs_f64(share);
                    sender.send((free + self.delay, piece)).await.unwrap();
                } else {
                    return;
                }
            }
        };
        let leave = async move {
            while let Some((due, piece)) = under_way.recv().await {
                sleep_until(due).await;
                if to.write_all(&piece).await.is_err() {
                    break;
                }
            }
            let _gone = to.shutdown().await;
        };
        tokio::join!(enter, leave);
    }
}
