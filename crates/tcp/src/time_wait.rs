use std::time::Duration;

use hashbrown::HashTable;
use pseudotcp_packet::build::TcpSegment;
use pseudotcp_packet::{Body, FlowKey, Packet, SeqNumber, TcpFlags, TcpOptions, Timestamps};

use crate::clock::Time;
use crate::isn::KeyedHash;
use crate::segment::Segment;
use crate::timer::TimerQueue;

/// DEVIATION from RFC 9293 §3.4.2 (2 MSL): the app is one hop away, so no segment of the old
/// connection survives longer than this, or four retransmission timeouts.
pub(crate) const MIN_TIME_WAIT: Duration = Duration::from_secs(1);
/// RFC 5961 §7: what each may say while it waits, besides acknowledging its FIN.
const MAX_CORRECTIONS: u8 = 10;
/// The most connections remembered; beyond it the one that ends first makes room.
const MAX_ENTRIES: usize = 16_384;

/// What is left of a connection that ended well, and ours first.
#[derive(Debug)]
pub(crate) struct Remains {
    pub(crate) key: FlowKey,
    pub(crate) send_next: SeqNumber,
    pub(crate) receive_next: SeqNumber,
    /// TS.Recent, where timestamps were negotiated.
    pub(crate) recent: Option<u32>,
    pub(crate) hold: Duration,
    pub(crate) now: Time,
}

/// Connections in TIME-WAIT: compact entries apart from the flows.
#[derive(Debug)]
pub(crate) struct TimeWait {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    expiries: TimerQueue<Time>,
    hash: KeyedHash,
}

#[derive(Debug)]
struct Entry {
    key: FlowKey,
    expires: Time,
    send_next: SeqNumber,
    receive_next: SeqNumber,
    recent: u32,
    timestamps: bool,
    hold_millis: u16,
    /// Segments answered since the wait began.
    corrections: u8,
}

/// DESIGN: at most 64 bytes each.
const _: () = assert!(size_of::<Option<Entry>>() <= 64);

/// What a segment means to TIME-WAIT.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// No such connection.
    Unknown,
    /// A new connection takes the place of the old one; our numbers must begin beyond this.
    Reopen(SeqNumber),
    /// The old connection answers.
    Answer(Packet),
    /// Nothing to say.
    Ignore,
}

impl TimeWait {
    pub(crate) fn new(hash: KeyedHash) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            expiries: TimerQueue::default(),
            hash,
        }
    }

    pub(crate) fn insert(&mut self, remains: &Remains) {
        if self.index.len() >= MAX_ENTRIES
            && let Some((_, slot)) = self.expiries.first()
        {
            self.remove(slot);
        }
        let hold_millis = u16::try_from(remains.hold.as_millis()).unwrap_or(u16::MAX);
        let entry = Entry {
            key: remains.key,
            expires: remains.now + Duration::from_millis(hold_millis.into()),
            send_next: remains.send_next,
            receive_next: remains.receive_next,
            recent: remains.recent.unwrap_or(0),
            timestamps: remains.recent.is_some(),
            hold_millis,
            corrections: 0,
        };
        self.store(entry);
    }

    /// A segment for which there is no flow. `offset` is where our timestamps started.
    pub(crate) fn on_segment(
        &mut self,
        now: Time,
        segment: &Segment<'_>,
        offset: impl FnOnce() -> u32,
    ) -> Verdict {
        if self.index.is_empty() {
            return Verdict::Unknown;
        }
        let Some((slot, entry)) = self.find(&segment.flow) else { return Verdict::Unknown };
        if segment.has(TcpFlags::RST) {
            // RFC 1337 §3: an old RST must not end TIME-WAIT. DEVIATION from RFC 9293 §3.10.7.4
            // (it does): what it would free is small, and is gone in a second.
            return Verdict::Ignore;
        }
        if segment.is_opening() && entry.may_reopen(segment) {
            let beyond = entry.send_next;
            self.remove(slot);
            return Verdict::Reopen(beyond);
        }
        if segment.sequence_len() == 0 && segment.seq == entry.receive_next {
            // Acceptable, and has nothing to say.
            return Verdict::Ignore;
        }
        let answer = entry.answer(now.timestamp(offset()));
        if segment.has(TcpFlags::FIN) && segment.end() == entry.receive_next {
            self.restart(slot, now);
        } else if !self.may_correct(slot) {
            return Verdict::Ignore;
        }
        Verdict::Answer(answer)
    }

    /// When the next entry expires.
    pub(crate) fn next_expiry(&self) -> Option<Time> {
        self.expiries.first().map(|(expires, _)| expires)
    }

    pub(crate) fn expire(&mut self, now: Time) {
        while let Some((_, slot)) = self.expiries.first().filter(|&(expires, _)| expires <= now) {
            self.remove(slot);
        }
    }

    fn store(&mut self, entry: Entry) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        });
        let hash = self.hash.hash(&entry.key);
        self.expiries.rearm(slot, &mut None, Some(entry.expires));
        if let Some(place) = self.entries.get_mut(slot as usize) {
            *place = Some(entry);
        }
        let (entries, hasher) = (&self.entries, &self.hash);
        self.index.insert_unique(hash, slot, |&slot| {
            get(entries, slot).map_or(0, |entry| hasher.hash(&entry.key))
        });
    }

    fn find(&self, key: &FlowKey) -> Option<(u32, &Entry)> {
        let same = |&slot: &u32| get(&self.entries, slot).is_some_and(|entry| entry.key == *key);
        let slot = *self.index.find(self.hash.hash(key), same)?;
        Some((slot, get(&self.entries, slot)?))
    }

    fn remove(&mut self, slot: u32) {
        let Some(entry) = self.entries.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
        self.expiries.rearm(slot, &mut Some(entry.expires), None);
        self.free.push(slot);
        if let Ok(found) = self.index.find_entry(self.hash.hash(&entry.key), |&at| at == slot) {
            found.remove();
        }
    }

    /// Counts an answer; two hosts that disagree must not correct each other for ever.
    fn may_correct(&mut self, slot: u32) -> bool {
        let entry = self.entries.get_mut(slot as usize).and_then(Option::as_mut);
        entry.is_some_and(|entry| {
            entry.corrections = entry.corrections.saturating_add(1);
            entry.corrections <= MAX_CORRECTIONS
        })
    }

    /// RFC 9293 §3.10.7.4: a FIN sent again starts the wait anew.
    fn restart(&mut self, slot: u32, now: Time) {
        if let Some(entry) = self.entries.get_mut(slot as usize).and_then(Option::as_mut) {
            let mut armed = Some(entry.expires);
            entry.expires = now + Duration::from_millis(entry.hold_millis.into());
            entry.corrections = 0;
            self.expiries.rearm(slot, &mut armed, Some(entry.expires));
        }
    }
}

impl Entry {
    /// RFC 9293 §3.6.1 and RFC 6191 §2: clearly newer than the old connection, by its timestamp
    /// where that tells, else by its number.
    fn may_reopen(&self, syn: &Segment<'_>) -> bool {
        match syn.options.timestamps.map(|theirs| theirs.value) {
            Some(_) if !self.timestamps => true,
            Some(value) if value != self.recent => {
                value.wrapping_sub(self.recent).cast_signed() > 0
            }
            _ => syn.seq.offset_from(self.receive_next) > 0,
        }
    }

    fn answer(&self, value: u32) -> Packet {
        let timestamps = self.timestamps.then_some(Timestamps { value, echo: self.recent });
        TcpSegment {
            flow: self.key.reversed(),
            seq: self.send_next,
            ack: Some(self.receive_next),
            flags: TcpFlags::empty(),
            window: u16::MAX,
            options: TcpOptions { timestamps, ..TcpOptions::default() },
            segment_size: None,
        }
        .build(Body::default())
    }
}

fn get(entries: &[Option<Entry>], slot: u32) -> Option<&Entry> {
    entries.get(slot as usize)?.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isn::Purpose;
    use pseudotcp_packet::Protocol;

    fn remains(port: u16, millis: u64) -> Remains {
        Remains {
            key: FlowKey::new(
                Protocol::Tcp,
                ([10, 0, 0, 1], port).into(),
                ([192, 0, 2, 1], 80).into(),
            ),
            send_next: SeqNumber::new(5),
            receive_next: SeqNumber::new(7),
            recent: None,
            hold: MIN_TIME_WAIT,
            now: Time::EPOCH + Duration::from_millis(millis),
        }
    }

    #[test]
    fn the_one_that_ends_first_makes_room() {
        let mut table = TimeWait::new(KeyedHash::new([3; 16], Purpose::Table));
        for n in 0..=u16::try_from(MAX_ENTRIES).unwrap() {
            table.insert(&remains(n, n.into()));
        }
        assert_eq!(table.index.len(), MAX_ENTRIES);
        assert!(table.find(&remains(0, 0).key).is_none());
        assert!(table.find(&remains(1, 0).key).is_some());
        table.expire(Time::EPOCH + Duration::from_hours(1));
        assert_eq!((table.index.len(), table.next_expiry()), (0, None));
        let places = table.entries.len();
        table.insert(&remains(7, 7));
        assert_eq!(table.entries.len(), places, "a place that is free is used again");
    }
}
