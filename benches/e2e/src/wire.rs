//! A program that only carries packets between two devices: as fast as it can, which is what a TUN
//! costs by itself; or late, slowly and with losses, as a long way does.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use tun_rs::{DeviceBuilder, SyncDevice};

/// The largest packet with the header of an offloading device.
const BUFFER: usize = 10 + 40 + 65_535;
/// How long packets wait at the most where the way is too narrow for them; then they are lost.
const LONGEST_QUEUE: Duration = Duration::from_millis(50);
/// How many packets are on their way at the most.
const IN_FLIGHT: usize = 65_536;

/// Two devices, and the way between them.
#[derive(Args)]
pub(crate) struct Options {
    one: String,
    other: String,
    /// Exchange super-segments.
    #[arg(long)]
    offload: bool,
    #[command(flatten)]
    distance: Distance,
}

/// What a packet meets on its way.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Distance {
    /// How long it takes, in milliseconds.
    #[arg(long, default_value_t = 0)]
    pub(crate) delay: u64,
    /// Of so many packets one is lost; 0 for none.
    #[arg(long, default_value_t = 0)]
    pub(crate) loss: u64,
    /// How much passes, in Mbit/s; 0 for everything.
    #[arg(long, default_value_t = 0)]
    pub(crate) rate: u64,
}

impl Distance {
    /// The options that say this.
    pub(crate) fn arguments(self) -> Vec<String> {
        let Self { delay, loss, rate } = self;
        vec![format!("--delay={delay}"), format!("--loss={loss}"), format!("--rate={rate}")]
    }

    fn is_none(self) -> bool {
        self.delay == 0 && self.loss == 0 && self.rate == 0
    }

    /// How long a packet of `octets` occupies the way.
    fn occupied(self, octets: usize) -> Duration {
        let nanoseconds = (octets as u64 * 8_000).checked_div(self.rate);
        Duration::from_nanos(nanoseconds.unwrap_or(0))
    }
}

/// Carries packets until it is killed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let device =
        |name: &String| DeviceBuilder::new().name(name).offload(options.offload).build_sync();
    let (one, other) = (device(&options.one)?, device(&options.other)?);
    println!("ready");
    thread::scope(|scope| {
        let back = scope.spawn(|| carry(&other, &one, options.distance));
        carry(&one, &other, options.distance)?;
        back.join().unwrap_or(Ok(()))
    })
    .map_err(Into::into)
}

fn carry(from: &SyncDevice, to: &SyncDevice, distance: Distance) -> io::Result<()> {
    if distance.is_none() {
        return carry_at_once(from, to);
    }
    let (sender, receiver) = sync_channel(IN_FLIGHT);
    thread::scope(|scope| {
        scope.spawn(|| deliver(receiver, to));
        let departed = depart(from, &sender, distance);
        drop(sender);
        departed
    })
}

fn carry_at_once(from: &SyncDevice, to: &SyncDevice) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.recv(&mut buffer)?;
        send(to, &buffer[..length]);
    }
}

/// Gives each packet the time of its arrival, or loses it.
fn depart(
    from: &SyncDevice,
    way: &SyncSender<(Instant, Vec<u8>)>,
    distance: Distance,
) -> io::Result<()> {
    let (mut buffer, mut free, dice) = (vec![0; BUFFER], now(), RandomState::new());
    for number in 0_u64.. {
        let length = from.recv(&mut buffer)?;
        let now = now();
        free = free.max(now);
        let lost = dice.hash_one(number).checked_rem(distance.loss) == Some(0);
        if lost || free - now > LONGEST_QUEUE {
            continue;
        }
        free += distance.occupied(length);
        let arrival = free + Duration::from_millis(distance.delay);
        if way.send((arrival, buffer[..length].to_vec())).is_err() {
            break;
        }
    }
    Ok(())
}

fn deliver(way: Receiver<(Instant, Vec<u8>)>, to: &SyncDevice) {
    // The way takes real time.
    let (_keep, never) = sync_channel::<()>(0);
    for (arrival, packet) in way {
        let _ = never.recv_timeout(arrival.saturating_duration_since(now()));
        send(to, &packet);
    }
}

/// What a device does not take is lost, as on any way.
fn send(to: &SyncDevice, packet: &[u8]) {
    let _ = to.send(packet);
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn now() -> Instant {
    Instant::now()
}
