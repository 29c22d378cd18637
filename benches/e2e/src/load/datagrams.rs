//! The highest rate of datagrams of which none is lost.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{RcvBufForce, UdpGroSegment, UdpGsoSegment};

use super::bulk::Direction;
use super::{Figures, now, server};
use crate::serve::{BATCH_PORT, COUNT, FLOOD};

/// The rates that are tried, in datagrams a second.
const RATES: [u64; 11] =
    [5_000, 10_000, 20_000, 40_000, 60_000, 80_000, 120_000, 160_000, 320_000, 640_000, 1_280_000];
/// How many datagrams of a batch leave in one system call.
const BATCH: u64 = 40;
/// The most bytes that the kernel joins.
pub(crate) const LARGEST: usize = 65_535;
/// How many others leave before the clock is looked at again.
const STRIDE: u64 = 8;

/// Datagrams of one size, one way.
#[derive(Args)]
pub(crate) struct Options {
    direction: Direction,
    /// The bytes of a datagram.
    #[arg(long)]
    size: u64,
    /// Many in one system call, cut and joined by the kernel (`UDP_SEGMENT`, `UDP_GRO`).
    #[arg(long)]
    batched: bool,
    /// How long each rate is held.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

impl Options {
    fn flood(&self, rate: u64) -> Flood {
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
        #[expect(clippy::cast_sign_loss, reason = "small and positive")]
        let count = (rate as f64 * self.seconds) as u64 / BATCH * BATCH;
        let batch = if self.batched { BATCH } else { 1 };
        Flood { count, size: self.size, rate, batch }
    }
}

/// Datagrams at an even rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flood {
    count: u64,
    size: u64,
    rate: u64,
    /// How many leave in one system call.
    batch: u64,
}

impl Flood {
    /// From the bytes of a request.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk()?;
        let (size, rest) = rest.split_first_chunk()?;
        let (rate, rest) = rest.split_first_chunk()?;
        let batch = rest.first_chunk()?;
        let [count, size, rate, batch] =
            [count, size, rate, batch].map(|number| u64::from_be_bytes(*number));
        Some(Self { count, size, rate, batch }).filter(|flood| flood.rate > 0 && flood.batch > 0)
    }

    /// How many a second there were in fact, in thousands, and no more than were asked for.
    fn held_rate(self, time: Duration) -> f64 {
        let rate = Self::thousands(self.count) / time.as_secs_f64();
        rate.min(Self::thousands(self.rate))
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn thousands(number: u64) -> f64 {
        number as f64 / 1e3
    }

    fn request(self) -> Vec<u8> {
        let numbers = [self.count, self.size, self.rate, self.batch].map(u64::to_be_bytes);
        [FLOOD, numbers.as_flattened()].concat()
    }

    /// Sends them, some at a time, and waits where it is ahead.
    pub(crate) fn send(
        self,
        socket: &UdpSocket,
        send: impl Fn(&[u8]) -> io::Result<usize>,
    ) -> Result<()> {
        if self.batch > 1 {
            setsockopt(socket, UdpGsoSegment, &i32::try_from(self.size)?)?;
        }
        let batch = vec![b'd'; usize::try_from(self.size * self.batch)?];
        let start = now();
        for number in (0..self.count).step_by(usize::try_from(self.batch)?) {
            let due = Duration::from_nanos(number * 1_000_000_000 / self.rate);
            while number % STRIDE == 0 && start.elapsed() < due {
                std::thread::yield_now();
            }
            send(&batch)?;
        }
        Ok(())
    }
}

/// The highest rate without loss, in thousands a second: of those that are tried, or the one that the
/// machine comes to where it does not keep up with what is tried.
pub(super) fn run(options: &Options) -> Result<Figures> {
    let mut server = server();
    let socket = open(0, options.batched)?;
    if options.batched {
        server.set_port(BATCH_PORT);
    }
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    count(&socket).context("no answer at all")?;
    let mut best = 0.0;
    for rate in RATES {
        let flood = options.flood(rate);
        let (arrived, time) = match options.direction {
            Direction::Up => up(&socket, flood)?,
            Direction::Down => down(&socket, flood)?,
        };
        if arrived < flood.count * flood.size {
            break;
        }
        let held = flood.held_rate(time);
        best = held.max(best);
        if held < 0.9 * Flood::thousands(rate) {
            break;
        }
    }
    Ok(Figures::from([("kpps".to_owned(), best)]))
}

/// A socket with much room, whose datagrams the kernel joins where they are batched.
pub(crate) fn open(port: u16, batched: bool) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    setsockopt(&socket, RcvBufForce, &(16 << 20))?;
    setsockopt(&socket, UdpGroSegment, &batched)?;
    Ok(socket)
}

/// How many bytes have arrived, and how long sending them took.
fn up(socket: &UdpSocket, flood: Flood) -> Result<(u64, Duration)> {
    let start = now();
    flood.send(socket, |datagrams| socket.send(datagrams))?;
    let time = start.elapsed();
    Ok((count(socket)?, time))
}

/// Asks how many bytes have arrived, until all that were under way have.
fn count(socket: &UdpSocket) -> Result<u64> {
    let (mut sum, mut answer) = (0, [0; 8]);
    for _ in 0..10 {
        socket.send(COUNT)?;
        match socket.recv(&mut answer) {
            Ok(8) => match u64::from_be_bytes(answer) {
                0 => return Ok(sum),
                more => sum += more,
            },
            Ok(_) => {}
            Err(error) if is_late(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(sum)
}

/// How many bytes have arrived, and how long that took.
fn down(socket: &UdpSocket, flood: Flood) -> Result<(u64, Duration)> {
    let start = now();
    socket.send(&flood.request())?;
    let (mut received, mut buffer) = (0, vec![0; LARGEST]);
    while received < flood.count * flood.size {
        match socket.recv(&mut buffer) {
            Ok(length) => received += length as u64,
            Err(error) if is_late(&error) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok((received, start.elapsed()))
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
