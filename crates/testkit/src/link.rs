use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pseudotcp_packet::Packet;

use crate::random::Dice;

/// How one direction of a wire treats its packets. Probabilities are from 0 to 1, for each packet
/// of the wire: super-segments are cut first.
#[derive(Clone, Copy, Debug)]
pub struct LinkConfig {
    delay: Duration,
    jitter: Duration,
    rate: Option<u64>,
    queue: usize,
    mtu: usize,
    loss: f64,
    duplicate: f64,
    reorder: f64,
    corrupt: f64,
}

impl LinkConfig {
    /// A faultless link of any rate: MTU 1,500 octets, 1,000 packets in flight.
    pub fn new(delay: Duration) -> Self {
        Self {
            delay,
            jitter: Duration::ZERO,
            rate: None,
            queue: 1_000,
            mtu: 1_500,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            corrupt: 0.0,
        }
    }

    /// The largest packet in octets; larger ones are lost. Default 1,500.
    #[must_use]
    pub fn with_mtu(mut self, octets: usize) -> Self {
        self.mtu = octets;
        self
    }

    /// A random part of this is added to each packet's delay, so that packets overtake each
    /// other. Default zero.
    #[must_use]
    pub fn with_jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Octets a second; packets queue for their turn. Default unlimited.
    #[must_use]
    pub fn with_rate(mut self, octets_per_second: u64) -> Self {
        self.rate = Some(octets_per_second);
        self
    }

    /// Packets that queue or fly; the next one is lost. Default 1,000.
    #[must_use]
    pub fn with_queue(mut self, packets: usize) -> Self {
        self.queue = packets;
        self
    }

    /// The probability that a packet is lost.
    #[must_use]
    pub fn with_loss(mut self, probability: f64) -> Self {
        self.loss = probability;
        self
    }

    /// The probability that a packet arrives twice.
    #[must_use]
    pub fn with_duplication(mut self, probability: f64) -> Self {
        self.duplicate = probability;
        self
    }

    /// The probability that a packet takes another delay (a millisecond at least) longer, and so
    /// falls behind its successors.
    #[must_use]
    pub fn with_reordering(mut self, probability: f64) -> Self {
        self.reorder = probability;
        self
    }

    /// The probability that a bit of a packet turns over; the receiver drops what it notices.
    #[must_use]
    pub fn with_corruption(mut self, probability: f64) -> Self {
        self.corrupt = probability;
        self
    }
}

/// What a link did, in packets of the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Handed to the link, after cutting.
    pub sent: u64,
    /// Handed out at the other end.
    pub delivered: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Lost because the queue was full.
    pub overflowed: u64,
    /// Lost because they exceed the MTU.
    pub too_big: u64,
    /// Delivered twice.
    pub duplicated: u64,
    /// Delayed behind their successors.
    pub reordered: u64,
    /// Changed by a bit; most of these are not delivered.
    pub corrupted: u64,
}

/// One direction of a simulated wire, in virtual time: packets go in by [`Link::send`], and come
/// out of [`Link::poll_deliver`] when their time has come, the earliest first.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    dice: Dice,
    /// By time of arrival, then by order of sending.
    in_flight: BTreeMap<(Instant, u64), Packet>,
    order: u64,
    /// When the sender's line is free again.
    idle_at: Option<Instant>,
    stats: LinkStats,
}

impl Link {
    /// An empty link; the same seed treats the same packets in the same way.
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            config,
            dice: Dice::new(seed),
            in_flight: BTreeMap::new(),
            order: 0,
            idle_at: None,
            stats: LinkStats::default(),
        }
    }

    /// Sends a packet, cut into packets of the wire.
    pub fn send(&mut self, now: Instant, packet: &Packet) {
        packet.segments().for_each(|packet| self.send_whole(now, packet));
    }

    /// The next packet that has arrived.
    #[must_use]
    pub fn poll_deliver(&mut self, now: Instant) -> Option<Packet> {
        let first = self.in_flight.first_entry().filter(|first| first.key().0 <= now)?;
        self.stats.delivered += 1;
        Some(first.remove())
    }

    /// When the next packet arrives.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.in_flight.keys().next().map(|(arrival, _)| *arrival)
    }

    /// What the link did so far.
    pub fn stats(&self) -> &LinkStats {
        &self.stats
    }

    /// Treats the packets that are sent from now on in another way.
    pub fn set_config(&mut self, config: LinkConfig) {
        self.config = config;
    }

    fn send_whole(&mut self, now: Instant, packet: Packet) {
        self.stats.sent += 1;
        if packet.total_len() > self.config.mtu {
            self.stats.too_big += 1;
        } else if self.in_flight.len() >= self.config.queue {
            self.stats.overflowed += 1;
        } else if self.dice.happens(self.config.loss) {
            self.stats.lost += 1;
        } else {
            self.fly(now, packet);
        }
    }

    fn fly(&mut self, now: Instant, packet: Packet) {
        let mut arrival = self.departure(now, &packet) + self.config.delay;
        arrival += self.config.jitter.mul_f64(self.dice.fraction());
        if self.dice.happens(self.config.reorder) {
            self.stats.reordered += 1;
            arrival += self.config.delay.max(Duration::from_millis(1));
        }
        if self.dice.happens(self.config.duplicate) {
            self.stats.duplicated += 1;
            self.arrive(arrival, packet.clone());
        }
        if self.dice.happens(self.config.corrupt) {
            self.stats.corrupted += 1;
            let Some(changed) = self.dice.corrupted(&packet) else { return };
            return self.arrive(arrival, changed);
        }
        self.arrive(arrival, packet);
    }

    /// When the last octet of a packet has left.
    fn departure(&mut self, now: Instant, packet: &Packet) -> Instant {
        let Some(rate) = self.config.rate else { return now };
        let octets = u64::try_from(packet.total_len()).unwrap_or(u64::MAX);
        let took = Duration::from_nanos(octets.saturating_mul(1_000_000_000) / rate.max(1));
        let departure = self.idle_at.map_or(now, |idle_at| idle_at.max(now)) + took;
        *self.idle_at.insert(departure)
    }

    fn arrive(&mut self, arrival: Instant, packet: Packet) {
        self.order += 1;
        self.in_flight.insert((arrival, self.order), packet);
    }
}
