use std::collections::VecDeque;
use std::time::{Duration, Instant};

use pseudotcp_packet::Packet;

use crate::link::{Link, LinkConfig};

/// How many packets a world remembers.
const REMEMBERED: usize = 5_000;
/// How many of them a failing world prints.
const PRINTED: usize = 100;

/// What a world must move on by, so that a timer that is due already cannot stop time.
const TICK: Duration = Duration::from_micros(1);

/// The instant at which virtual time begins: any will do, as nothing else reads a clock.
#[expect(clippy::disallowed_methods, reason = "virtual time needs some instant to begin with")]
pub fn epoch() -> Instant {
    Instant::now()
}

/// One end of a world: something that takes and gives packets in virtual time.
pub trait Node {
    /// A packet arrived.
    fn handle_packet(&mut self, now: Instant, packet: &Packet);

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    fn handle_timeout(&mut self, now: Instant);

    /// The next packet to send; called until there is none.
    #[must_use]
    fn poll_transmit(&mut self, now: Instant) -> Option<Packet>;

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    #[must_use]
    fn poll_timeout(&mut self) -> Option<Instant>;
}

/// An end of a [`World`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// [`World::a`].
    A,
    /// [`World::b`].
    B,
}

/// Two nodes, joined by a link in each direction, in virtual time.
///
/// A world that is dropped by a panic prints its last 100 packets.
pub struct World<A: Node, B: Node> {
    /// One end.
    pub a: A,
    /// The other end.
    pub b: B,
    /// From `a` to `b`.
    pub up: Link,
    /// From `b` to `a`.
    pub down: Link,
    epoch: Instant,
    now: Instant,
    trace: VecDeque<(Duration, End, Packet)>,
}

impl<A: Node, B: Node> World<A, B> {
    /// A world at [`epoch`] with the same link both ways.
    pub fn new(a: A, b: B, link: LinkConfig, seed: u64) -> Self {
        let now = epoch();
        let (up, down) = (Link::new(link, seed), Link::new(link, !seed));
        Self { a, b, up, down, epoch: now, now, trace: VecDeque::new() }
    }

    /// The present.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The time since the world began.
    pub fn elapsed(&self) -> Duration {
        self.now - self.epoch
    }

    /// Lets things happen until `apps` says that it is done, for `limit` at most; false where the
    /// time is up, or nothing can happen any more. `apps` is called at every instant at which
    /// something happened, and plays the applications of both ends.
    pub fn run(
        &mut self,
        limit: Duration,
        mut apps: impl FnMut(&mut A, &mut B, Instant) -> bool,
    ) -> bool {
        let end = self.now + limit;
        loop {
            self.exchange();
            if apps(&mut self.a, &mut self.b, self.now) {
                return true;
            }
            self.exchange();
            let Some(next) = self.next_event().filter(|next| *next <= end) else { return false };
            self.now = next;
            self.fire_timers();
        }
    }

    /// The last 100 packets sent, a line each: time, direction, packet.
    pub fn trace(&self) -> impl Iterator<Item = String> {
        self.packets().skip(self.trace.len().saturating_sub(PRINTED)).map(|(at, sender, packet)| {
            let direction = if sender == End::A { "a > b" } else { "b > a" };
            format!("{:>12.6} {direction} {packet}", at.as_secs_f64())
        })
    }

    /// The last 5,000 packets sent, lost ones as well: time, sender, packet.
    pub fn packets(&self) -> impl Iterator<Item = (Duration, End, &Packet)> {
        self.trace.iter().map(|(at, sender, packet)| (*at, *sender, packet))
    }

    /// Moves packets until nobody has any more for this instant.
    fn exchange(&mut self) {
        loop {
            let mut moved = false;
            while let Some(packet) = self.up.poll_deliver(self.now) {
                self.b.handle_packet(self.now, &packet);
                moved = true;
            }
            while let Some(packet) = self.down.poll_deliver(self.now) {
                self.a.handle_packet(self.now, &packet);
                moved = true;
            }
            moved |= self.transmit();
            if !moved {
                return;
            }
        }
    }

    fn transmit(&mut self) -> bool {
        let mut moved = false;
        while let Some(packet) = self.a.poll_transmit(self.now) {
            self.up.send(self.now, &packet);
            self.remember(End::A, packet);
            moved = true;
        }
        while let Some(packet) = self.b.poll_transmit(self.now) {
            self.down.send(self.now, &packet);
            self.remember(End::B, packet);
            moved = true;
        }
        moved
    }

    fn remember(&mut self, sender: End, packet: Packet) {
        if self.trace.len() == REMEMBERED {
            self.trace.pop_front();
        }
        self.trace.push_back((self.elapsed(), sender, packet));
    }

    fn next_event(&mut self) -> Option<Instant> {
        let nodes = [self.a.poll_timeout(), self.b.poll_timeout()];
        let links = [self.up.poll_timeout(), self.down.poll_timeout()];
        let next = nodes.into_iter().chain(links).flatten().min()?;
        Some(next.max(self.now + TICK))
    }

    fn fire_timers(&mut self) {
        if self.a.poll_timeout().is_some_and(|due| due <= self.now) {
            self.a.handle_timeout(self.now);
        }
        if self.b.poll_timeout().is_some_and(|due| due <= self.now) {
            self.b.handle_timeout(self.now);
        }
    }
}

impl<A: Node, B: Node> Drop for World<A, B> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.trace().for_each(|line| println!("{line}"));
        }
    }
}
