use pseudotcp_packet::{Packet, Quote, SeqNumber, TcpFlags};

use super::Engine;
use crate::clock::Time;
use crate::flow::Flow;
use crate::segment::Segment;
use crate::time_wait::Verdict;
use crate::{refusals, reply};

/// The most events that wait unread before new flows are turned away.
const MAX_EVENTS: usize = 65_536;
/// How far the numbers of a reopened connection lie beyond those of the old one at least.
const REOPEN_GAP: u32 = 1 << 17;

/// Segments that belong to no flow: new ones, old ones, and strays.
impl Engine {
    pub(super) fn on_unknown(&mut self, now: Time, packet: &Packet, segment: &Segment<'_>) {
        let offset = || self.isn.timestamp_offset(&segment.flow);
        match self.time_wait.on_segment(now, segment, offset) {
            Verdict::Answer(answer) => self.split(now).1.reply(answer),
            Verdict::Ignore => self.stats.dropped += 1,
            Verdict::Reopen(beyond) => self.admit(now, packet, segment, Some(beyond)),
            Verdict::Unknown if segment.is_opening() => {
                match self.refusals.on_syn(now, packet, segment) {
                    refusals::Verdict::Answer(again) => self.split(now).1.reply(again),
                    refusals::Verdict::Ignore => self.stats.dropped += 1,
                    refusals::Verdict::Unknown => self.admit(now, packet, segment, None),
                }
            }
            Verdict::Unknown => self.reject(now, segment),
        }
    }

    /// D16: RST with the numbers that make the app believe it, and none in answer to RST.
    fn reject(&mut self, now: Time, segment: &Segment<'_>) {
        // No host asks for a connection and for its end at once: Linux is silent too.
        let absurd = segment.ack.is_none() && segment.has(TcpFlags::SYN | TcpFlags::FIN);
        match reply::reset(segment).filter(|_| !absurd) {
            Some(reset) => {
                self.stats.resets_out += 1;
                self.split(now).1.reply(reset);
            }
            None => self.stats.dropped += 1,
        }
    }

    /// A SYN asks for a new flow.
    fn admit(&mut self, now: Time, packet: &Packet, syn: &Segment<'_>, beyond: Option<SeqNumber>) {
        if !reply::is_between_hosts(&syn.flow) {
            self.stats.dropped += 1;
        } else if self.opening >= self.config.backlog || self.outbox.events.len() >= MAX_EVENTS {
            // Silence: the app's next SYN may find room.
            self.stats.backlog_overflows += 1;
        } else if self.table.len() >= self.config.max_flows as usize && !self.evict(now) {
            self.stats.table_overflows += 1;
        } else {
            self.open(now, packet, syn, beyond);
        }
    }

    fn open(&mut self, now: Time, packet: &Packet, syn: &Segment<'_>, beyond: Option<SeqNumber>) {
        let start = self.first_number(now, syn, beyond);
        let offset = self.isn.timestamp_offset(&syn.flow);
        self.stats.opening += 1;
        let (table, mut cx) = self.split(now);
        let opened =
            table.insert(|id| Flow::open(id, &mut cx, syn, Quote::of(packet), (start, offset)));
        if let Some(slot) = opened {
            if self.config.early_accept
                && let Some(flow) = self.table.get_mut(slot)
            {
                flow.accept_early();
            }
            self.settle(now, slot);
        }
    }

    /// RFC 6528 §3, and beyond the numbers of a connection that is barely over.
    fn first_number(
        &mut self,
        now: Time,
        syn: &Segment<'_>,
        beyond: Option<SeqNumber>,
    ) -> SeqNumber {
        let start = self.isn.isn(&syn.flow, now);
        match beyond {
            Some(old) if start.offset_from(old) <= 0 => old.advance(REOPEN_GAP),
            _ => start,
        }
    }
}
