use std::time::Duration;

use bytes::Bytes;
use pseudotcp_packet::{SackBlocks, SeqNumber};

use crate::assembler::Assembler;
use crate::chunks::Chunks;
use crate::clock::Time;
use crate::segment::Segment;
use crate::share::{self, Share};

/// Units of the window scale kept back, so that rounding need not take back what was offered.
/// Segments of 1,460 bytes misfit every unit; this is enough for 256 KiB of them.
const SLACK_UNITS: u32 = 128;

/// What must be left of the budget for bytes that arrive ahead of a gap: a run of them grows in
/// steps of its own size, which is at most this.
const RUN_GROWTH: usize = 64 * 1024;
/// How many times its own size a piece may keep alive of the buffer in which it came.
const MAX_SURPLUS: u32 = 4;
/// Segments at the start of a flow that are acknowledged at once, as the app's window grows by it.
const QUICK_ACKS: u8 = 16;

/// What the window depends on besides the receiver itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) now: Time,
    /// How many more octets the budget lets a flow promise.
    pub(crate) room: usize,
    /// The largest window to offer; more that was promised stands.
    pub(crate) most: u32,
    pub(crate) mss: u32,
    /// To the app and back.
    pub(crate) round_trip: Duration,
}

/// The direction from the app: what has arrived, and what may.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// RCV.NXT.
    next: SeqNumber,
    /// The right edge of every window offered so far.
    edge: SeqNumber,
    /// RCV.NXT as last told to the app.
    acked: SeqNumber,
    /// The largest window.
    capacity: u32,
    /// What of it is of use.
    share: Share,
    shift: u8,
    /// One acknowledgement is owed for all that arrived in order.
    ack_owed: bool,
    /// It may wait until then for data to travel with, or for more to acknowledge.
    ack_due: Option<Time>,
    /// Acknowledgements that do not wait, as the flow is new.
    quick: u8,
    /// One more for every segment that arrived ahead of a gap.
    duplicates_owed: u8,
    /// `Readable` was raised and the buffer has not been emptied since.
    announced: bool,
    /// What arrived twice, to be told once.
    repeated: Option<(SeqNumber, SeqNumber)>,
    /// Where the app's FIN lies, once it is known.
    fin: Option<SeqNumber>,
    unread: Chunks,
    assembler: Option<Box<Assembler>>,
}

/// What a segment brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Bytes that can be read now.
    pub(crate) in_order: u64,
    /// Bytes kept behind a gap.
    pub(crate) out_of_order: u64,
    /// Bytes for which there was no room.
    pub(crate) dropped: u64,
    /// It filled a gap.
    pub(crate) fills: bool,
    /// The app's FIN was reached.
    pub(crate) finished: bool,
    /// It arrived ahead of a gap.
    pub(crate) ahead: bool,
}

impl Receiver {
    /// `next` follows the app's SYN.
    pub(crate) fn new(now: Time, next: SeqNumber, capacity: u32, shift: u8) -> Self {
        Self {
            next,
            edge: next,
            acked: next,
            capacity,
            share: Share::new(now),
            shift,
            ack_owed: false,
            ack_due: None,
            quick: QUICK_ACKS,
            duplicates_owed: 0,
            announced: false,
            repeated: None,
            fin: None,
            unread: Chunks::default(),
            assembler: None,
        }
    }

    pub(crate) fn next(&self) -> SeqNumber {
        self.next
    }

    pub(crate) fn acked(&self) -> SeqNumber {
        self.acked
    }

    pub(crate) fn unread(&self) -> usize {
        self.unread.len()
    }

    /// All bytes taken in order so far.
    pub(crate) fn total(&self) -> u64 {
        self.unread.total()
    }

    /// Octets of memory that they keep alive.
    pub(crate) fn pinned(&self) -> usize {
        self.unread.pinned() + self.assembler.as_ref().map_or(0, |held| held.capacity())
    }

    /// Bytes held, those behind a gap included.
    pub(crate) fn buffered(&self) -> usize {
        self.unread.len() + self.behind_gap()
    }

    /// Whether a segment touches the window.
    ///
    /// RFC 9293 §3.10.7.4, first check. DEVIATION: what begins exactly at the right edge passes
    /// too, its bytes are dropped: the special allowance for ACKs and RSTs at a closed window.
    pub(crate) fn accepts(&self, segment: &Segment<'_>) -> bool {
        let end = segment.end().offset_from(self.next);
        let new = if segment.sequence_len() == 0 { end >= 0 } else { end > 0 };
        new && segment.seq.offset_from(self.edge) <= 0
    }

    /// Takes the payload and the FIN of a segment that [`accepts`](Self::accepts) let pass, at
    /// most `left` bytes of it.
    pub(crate) fn take(&mut self, segment: &Segment<'_>, fin: bool, left: usize) -> Arrived {
        let ahead = segment.seq.offset_from(self.next) > 0;
        let mut arrived = Arrived { ahead, ..Arrived::default() };
        let mut at = segment.seq;
        let mut pinned = segment.pinned;
        self.repeated = self.known(at, at.advance(segment.len)).or(self.repeated);
        for slice in segment.payload {
            self.take_slice(at, slice, left, &mut pinned, &mut arrived);
            at = at.advance(octets(slice.len()));
        }
        let within = at.offset_from(self.next) >= 0 && at.offset_from(self.edge) <= 0;
        let contradicted = self.furthest().is_some_and(|end| end.offset_from(at) > 0);
        if fin && within && !contradicted {
            // The first FIN that was heard counts; a second one elsewhere contradicts it.
            self.fin.get_or_insert(at);
        }
        let pulled = self.pull();
        arrived.in_order += pulled;
        arrived.fills = pulled > 0;
        arrived.finished = self.pass_fin();
        if arrived.ahead {
            // RFC 5681 §4.2: at once, and one for each segment ahead of a gap.
            self.duplicates_owed = self.duplicates_owed.saturating_add(1);
        }
        arrived
    }

    /// Something has arrived in order: at the end of the batch it is acknowledged, or soon.
    ///
    /// RFC 1122 §4.2.3.2: every second full segment at once, and at the start of a flow everything.
    pub(crate) fn acknowledge_soon(&mut self, now: Time, delay: Duration, mss: u32) {
        let unacknowledged = self.next.offset_from(self.acked);
        let enough = u32::try_from(unacknowledged).is_ok_and(|octets| octets >= 2 * mss);
        let reports = self.assembler.is_some() || self.repeated.is_some();
        if enough || reports || self.quick > 0 || delay.is_zero() {
            self.quick = self.quick.saturating_sub(1);
            self.ack_owed = true;
        } else {
            self.ack_due.get_or_insert(now + delay);
        }
    }

    /// When the acknowledgement of something can wait no longer.
    pub(crate) fn ack_due(&self) -> Option<Time> {
        self.ack_due
    }

    /// The next bytes, and whether taking them made the window worth telling about.
    pub(crate) fn read(&mut self, max: usize, terms: &Terms) -> Option<Bytes> {
        let data = self.unread.pop(max)?;
        self.share.take(terms.now, terms.round_trip, octets(data.len()));
        if self.unread.is_empty() {
            self.announced = false;
        }
        // RFC 9293 §3.8.6.2.2: SWS avoidance by the receiver.
        let gain = self.next.advance(self.space(terms)).offset_from(self.edge);
        let worthwhile = (self.size(terms) / 2).min(2 * terms.mss);
        if self.fin.is_none() && u32::try_from(gain).is_ok_and(|gain| gain >= worthwhile) {
            self.ack_owed = true;
        }
        Some(data)
    }

    /// Whether `Readable` is to be raised: once until the buffer has been emptied.
    pub(crate) fn announce(&mut self) -> bool {
        let news = !self.announced && !self.unread.is_empty();
        self.announced |= news;
        news
    }

    /// The window to put into a header; from then on it is promised.
    ///
    /// RFC 9293 §3.8.6: the right edge never moves back. Where the scale leaves no other choice it
    /// does by less than one unit (RFC 7323 §2.4), and what was promised is still taken.
    pub(crate) fn offer(&mut self, terms: &Terms, scaled: bool) -> u16 {
        let shift = if scaled { self.shift } else { 0 };
        let promised = self.promised();
        let rounded = |window: u32| (window >> shift) << shift;
        let (space, mss) = (self.space(terms), terms.mss);
        // RFC 9293 §3.8.6.2.2: where little room is left its edge does not move by small steps.
        let half = self.size(terms) / 2;
        let crowded = octets(self.unread.len()) > half || space < 2 * mss;
        let silly = crowded && space.saturating_sub(promised) < mss.min(half);
        let mut window = rounded(if silly { promised } else { space.max(promised) });
        let hard = self.capacity.saturating_sub(octets(self.unread.len()));
        if window < promised && window + (1 << shift) <= hard {
            window += 1 << shift;
        }
        let field = u16::try_from(window >> shift).unwrap_or(u16::MAX);
        self.promise(u32::from(field) << shift);
        self.acked = self.next;
        self.ack_due = None;
        field
    }

    /// What arrived twice, and the blocks that arrived ahead of a gap.
    ///
    /// RFC 2883 §4: the first block tells of a duplicate, and of each only once.
    pub(crate) fn sack(&mut self) -> SackBlocks {
        let held = self.assembler.iter().flat_map(|held| held.blocks());
        self.repeated.take().into_iter().chain(held).collect()
    }

    /// Octets that were there already have arrived again.
    pub(crate) fn note_repeated(&mut self, from: SeqNumber, to: SeqNumber) {
        self.repeated = Some((from, to));
    }

    /// One past the last byte that arrived ahead of a gap.
    pub(crate) fn furthest(&self) -> Option<SeqNumber> {
        self.assembler.as_ref().and_then(|held| held.end())
    }

    pub(crate) fn owe_ack(&mut self) {
        self.ack_owed = true;
        self.ack_due = None;
    }

    /// Some acknowledgement is owed.
    pub(crate) fn owes_ack(&self) -> bool {
        self.ack_owed || self.duplicates_owed > 0
    }

    /// An acknowledgement is owed that data cannot stand in for: a duplicate, or a report (RFC 2018
    /// §4).
    pub(crate) fn owes_bare_ack(&self) -> bool {
        let reports = self.assembler.is_some() || self.repeated.is_some();
        self.duplicates_owed > 0 || self.ack_owed && reports
    }

    /// A segment that carries the acknowledgement was built.
    pub(crate) fn ack_sent(&mut self) {
        self.ack_owed = false;
    }

    /// A bare acknowledgement was built.
    pub(crate) fn bare_ack_sent(&mut self) {
        if self.ack_owed {
            self.ack_owed = false;
        } else {
            self.duplicates_owed = self.duplicates_owed.saturating_sub(1);
        }
    }

    /// How many octets the app may still send.
    pub(crate) fn promised(&self) -> u32 {
        u32::try_from(self.edge.offset_from(self.next)).unwrap_or(0)
    }

    /// Whether the window is never larger than that of a new flow.
    pub(crate) fn is_small(&self) -> bool {
        self.capacity <= share::START
    }

    /// Whether the app's own unread bytes leave room for more.
    pub(crate) fn has_room(&self, terms: &Terms) -> bool {
        let own = self.size(terms).saturating_sub(octets(self.unread.len()));
        self.fin.is_none() && own >= terms.mss
    }

    /// Whether the budget, not the app's own unread bytes, keeps the window shut.
    pub(crate) fn is_starved(&self, terms: &Terms) -> bool {
        self.has_room(terms) && octets(terms.room) < terms.mss
    }

    /// The window that could be offered now: what is free of the flow's share, and what turn
    /// and budget allow.
    fn space(&self, terms: &Terms) -> u32 {
        let slack = if self.shift == 0 { 0 } else { SLACK_UNITS << self.shift };
        let most = self.size(terms).min(self.capacity.saturating_sub(slack));
        let own = most.saturating_sub(octets(self.unread.len()));
        let shown = u32::from(u16::MAX) << self.shift;
        own.min(terms.most).min(shown).min(octets(terms.room.saturating_add(self.behind_gap())))
    }

    /// The largest window that is of use.
    fn size(&self, terms: &Terms) -> u32 {
        self.share.size(terms.now, terms.round_trip, self.capacity)
    }

    fn promise(&mut self, window: u32) {
        let edge = self.next.advance(window);
        if edge.offset_from(self.edge) > 0 {
            self.edge = edge;
        }
        // DESIGN: unread + window ≤ capacity.
        debug_assert!(self.unread.len() + window as usize <= self.capacity as usize);
    }

    /// Takes a slice of the payload; the first of them that is kept bears the memory of all.
    fn take_slice(
        &mut self,
        seq: SeqNumber,
        data: &Bytes,
        left: usize,
        pinned: &mut u32,
        arrived: &mut Arrived,
    ) {
        let limit = self.fin.unwrap_or(self.edge);
        let old = distance(self.next, seq).min(data.len());
        let fits = distance(limit, seq).min(data.len());
        let left = left
            .saturating_sub(usize::try_from(arrived.in_order + arrived.out_of_order).unwrap_or(0));
        let to = fits.min(old.saturating_add(left));
        arrived.dropped += data.len().saturating_sub(to.max(old)) as u64;
        if old >= to {
            return;
        }
        let fresh = data.slice(old..to);
        if seq.offset_from(self.next) <= 0 {
            arrived.in_order += fresh.len() as u64;
            self.next = self.next.advance(octets(fresh.len()));
            let charge = std::mem::take(pinned).max(octets(fresh.len()));
            if charge as usize > left || charge / MAX_SURPLUS > octets(fresh.len()) {
                // What would keep too much of a larger buffer alive is copied out of it.
                self.unread.push(Bytes::copy_from_slice(&fresh));
            } else {
                self.unread.push_pinned(fresh, charge);
            }
        } else {
            if left < RUN_GROWTH {
                arrived.dropped += fresh.len() as u64;
                return;
            }
            let held = self.assembler.get_or_insert_default();
            arrived.out_of_order += held.insert(self.next, seq, &fresh) as u64;
        }
    }

    /// RFC 2883 §4: the first octets between two numbers that were there already, below RCV.NXT or
    /// behind a gap.
    fn known(&self, from: SeqNumber, to: SeqNumber) -> Option<(SeqNumber, SeqNumber)> {
        let old = distance(self.next, from).min(distance(to, from));
        if old > 0 {
            return Some((from, from.advance(octets(old))));
        }
        self.assembler.as_ref()?.known(self.next, from, to)
    }

    /// Moves what has become contiguous over to the readable bytes, and says how much.
    fn pull(&mut self) -> u64 {
        let Some(held) = &mut self.assembler else { return 0 };
        let mut pulled = 0;
        while let Some(run) = held.pop(self.next) {
            pulled += run.len() as u64;
            self.next = self.next.advance(octets(run.len()));
            self.unread.push(run);
        }
        if held.is_empty() {
            self.assembler = None;
        }
        pulled
    }

    /// Takes the FIN if all before it has arrived.
    fn pass_fin(&mut self) -> bool {
        let reached = self.fin == Some(self.next);
        if reached {
            self.next = self.next.advance(1);
            self.assembler = None;
        }
        reached
    }

    fn behind_gap(&self) -> usize {
        self.assembler.as_ref().map_or(0, |held| held.len())
    }
}

/// How far `seq` lies beyond `base`; 0 where it lies before.
fn distance(seq: SeqNumber, base: SeqNumber) -> usize {
    usize::try_from(seq.offset_from(base)).unwrap_or(0)
}

fn octets(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
