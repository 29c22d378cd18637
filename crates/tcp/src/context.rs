use std::collections::VecDeque;

use pseudotcp_packet::{Heads, Packet};

use crate::clock::Time;
use crate::turn::Turns;
use crate::{Config, Event, Stats};

/// The most answers without a flow that wait to be taken; more are dropped and counted.
const MAX_REPLIES: usize = 1_024;

/// What a flow sees of its engine while something happens to it.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) config: &'a Config,
    /// How many more bytes a flow may be promised.
    pub(crate) room: usize,
    /// How many more bytes can be taken in at all.
    pub(crate) left: usize,
    /// So many apps begin or send that new ones shall begin slowly.
    pub(crate) crowded: bool,
    pub(crate) turns: &'a mut Turns,
    pub(crate) stats: &'a mut Stats,
    pub(crate) outbox: &'a mut Outbox,
}

/// What waits for the caller.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) events: VecDeque<Event>,
    pub(crate) replies: VecDeque<Packet>,
    /// Of all segments that flows build.
    pub(crate) heads: Heads,
}

impl Context<'_> {
    pub(crate) fn raise(&mut self, event: Event) {
        self.outbox.events.push_back(event);
    }

    /// Queues an answer, if there is one.
    pub(crate) fn answer(&mut self, packet: Option<Packet>) {
        if let Some(packet) = packet {
            self.reply(packet);
        }
    }

    /// Queues a packet that outlives its flow.
    pub(crate) fn reply(&mut self, packet: Packet) {
        if self.outbox.replies.len() < MAX_REPLIES {
            self.outbox.replies.push_back(packet);
        } else {
            self.stats.dropped += 1;
        }
    }
}
