//! One app: what it has sent and heard on one five-tuple, and the segments it may send next.

use std::net::SocketAddr;

use arbitrary::Arbitrary;
use bytes::Bytes;
use pseudotcp_packet::build::TcpSegment;
use pseudotcp_packet::{
    FlowKey, Packet, Protocol, SackBlocks, SeqNumber, TcpFlags, TcpHeader, TcpOptions, Timestamps,
};
use pseudotcp_tcp::FlowId;

/// A segment, relative to what the app knows.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Shape {
    /// A SYN: the last one again, or one with a fresh ISN.
    Syn { fresh: Option<u32>, window: u16, scale: Option<u8>, mss: Option<u16>, timestamps: bool },
    /// Acknowledges everything heard.
    Ack { window: u16, sack: Option<(u8, u8)> },
    /// The next octets, or some behind a gap.
    Data { len: u16, gap: u8, window: u16 },
    /// No more octets.
    Fin { len: u8 },
    /// A reset, exact or beside the mark.
    Rst { offset: i8 },
    /// Anything, anywhere near.
    Wild { seq: i16, ack: Option<i16>, flags: u8, window: u16, len: u8 },
}

/// What one app knows of its connection.
pub struct App {
    flow: FlowKey,
    /// The current flow of the engine, while it lives.
    pub id: Option<FlowId>,
    /// The last SYN sent; it counts from the event that says so.
    syn: Syn,
    /// What the current flow began with.
    opened: Syn,
    /// Where the app's next octet goes.
    next: SeqNumber,
    /// The engine's initial sequence number, and its shift, once SYN-ACK was heard.
    heard: Option<(SeqNumber, u8)>,
    /// Behind the last octet heard.
    heard_to: SeqNumber,
    /// Where the window ends that counts for the engine.
    edge: SeqNumber,
    /// SND.UNA, SND.WL1 and SND.WL2 of the engine.
    window: Window,
    /// What the last segment acknowledged and offered.
    offer: Option<Offer>,
    /// The last timestamp heard.
    echo: u32,
    /// Octets that the far side has taken out of the engine and put in.
    pub read: u32,
    pub written: u32,
    /// The far side has ended its stream.
    finishing: bool,
    /// The app's end of stream was reported.
    pub finished: bool,
    /// `Readable` was raised and nothing read since.
    pub readable: bool,
}

/// RFC 9293 §3.3.1: which acknowledgement the engine's window came with.
#[derive(Clone, Copy, Default)]
struct Window {
    una: SeqNumber,
    seq: SeqNumber,
    ack: SeqNumber,
}

/// The acknowledging part of a segment.
#[derive(Clone, Copy)]
struct Offer {
    seq: SeqNumber,
    ack: SeqNumber,
    window: u32,
}

#[derive(Clone, Copy, Default)]
struct Syn {
    seq: SeqNumber,
    window: u16,
    scaled: bool,
    shift: u8,
    timestamps: bool,
}

impl App {
    /// An app that has sent nothing.
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        Self {
            flow: FlowKey::new(Protocol::Tcp, source, destination),
            id: None,
            syn: Syn::default(),
            opened: Syn::default(),
            next: SeqNumber::new(0),
            heard: None,
            heard_to: SeqNumber::new(0),
            edge: SeqNumber::new(0),
            window: Window::default(),
            offer: None,
            echo: 0,
            read: 0,
            written: 0,
            finishing: false,
            finished: false,
            readable: false,
        }
    }

    /// The app's five-tuple.
    pub fn flow(&self) -> FlowKey {
        self.flow
    }

    /// The engine has taken up the last SYN as a new flow. Returns what is known of the old one.
    pub fn open(&mut self, id: FlowId) -> Self {
        let old = std::mem::replace(self, Self::new(self.flow.source(), self.flow.destination()));
        (self.id, self.syn, self.opened) = (Some(id), old.syn, old.syn);
        self.next = old.syn.seq.advance(1);
        old
    }

    /// The octet of the app's stream at this sequence number; the engine must hand out the same.
    pub fn octet(&self, at: u32) -> u8 {
        pattern(at)
    }

    /// The next octets that the far side writes. The engine takes them between `accept` and
    /// `finish`, and must drop them silently at any other time.
    pub fn compose(&mut self, len: usize) -> Bytes {
        let octets: Bytes = (self.written..).take(len).map(|at| !pattern(at)).collect();
        if self.takes_data() {
            self.written += u32::try_from(len).unwrap_or(0);
        }
        octets
    }

    /// The far side writes no more.
    pub fn finish(&mut self) {
        self.finishing |= self.takes_data();
    }

    fn takes_data(&self) -> bool {
        self.heard.is_some() && !self.finishing
    }

    /// The segment of this shape.
    pub fn send(&mut self, shape: Shape, clock: u32) -> Packet {
        match shape {
            Shape::Syn { fresh, window, scale, mss, timestamps } => {
                let seq = fresh.map_or(self.syn.seq, SeqNumber::new);
                let shift = scale.unwrap_or(0).min(14);
                self.syn = Syn { seq, window, scaled: scale.is_some(), shift, timestamps };
                let options =
                    TcpOptions { mss, window_scale: scale, ..self.stamped(clock, timestamps) };
                self.segment(seq, None, TcpFlags::SYN, window, options, 0)
            }
            Shape::Ack { window, sack } => {
                let options = TcpOptions { sack: self.sacked(sack), ..self.options(clock) };
                self.segment(self.next, Some(self.heard_to), TcpFlags::empty(), window, options, 0)
            }
            Shape::Data { len, gap, window } => {
                let (seq, len) = (self.next.advance(gap.into()), usize::from(len % 20_000));
                if gap == 0 {
                    self.next = self.next.advance(u32::try_from(len).unwrap_or(0));
                }
                let options = self.options(clock);
                self.segment(seq, Some(self.heard_to), TcpFlags::PSH, window, options, len)
            }
            Shape::Fin { len } => {
                let seq = self.next;
                self.next = self.next.advance(u32::from(len) + 1);
                let (options, ack) = (self.options(clock), Some(self.heard_to));
                self.segment(seq, ack, TcpFlags::FIN, u16::MAX, options, len.into())
            }
            Shape::Rst { offset } => {
                let seq = moved(self.next, offset.into());
                self.segment(seq, None, TcpFlags::RST, 0, TcpOptions::default(), 0)
            }
            Shape::Wild { seq, ack, flags, window, len } => {
                let seq = moved(self.next, seq.into());
                let ack = ack.map(|ack| moved(self.heard_to, ack.into()));
                let flags = TcpFlags::from(flags).without(TcpFlags::ACK);
                if flags.contains(TcpFlags::SYN) {
                    self.syn = Syn { seq, window, ..Syn::default() };
                }
                self.segment(seq, ack, flags, window, self.options(clock), len.into())
            }
        }
    }

    fn options(&self, clock: u32) -> TcpOptions {
        self.stamped(clock, self.opened.timestamps)
    }

    fn stamped(&self, value: u32, timestamps: bool) -> TcpOptions {
        let timestamps = timestamps.then_some(Timestamps { value, echo: self.echo });
        TcpOptions { timestamps, sack_permitted: true, ..TcpOptions::default() }
    }

    fn sacked(&self, sack: Option<(u8, u8)>) -> SackBlocks {
        let block = |(start, len): (u8, u8)| {
            let start = moved(self.heard_to, -i32::from(start));
            (start, start.advance(len.into()))
        };
        sack.map(block).into_iter().collect()
    }

    fn segment(
        &mut self,
        seq: SeqNumber,
        ack: Option<SeqNumber>,
        flags: TcpFlags,
        window: u16,
        options: TcpOptions,
        len: usize,
    ) -> Packet {
        let scaled = u32::from(window) << self.opened.shift;
        self.offer = ack.map(|ack| Offer { seq, ack, window: scaled });
        let first = seq.advance(flags.contains(TcpFlags::SYN).into());
        let at = first.offset_from(self.opened.seq.advance(1)).cast_unsigned();
        let payload: Bytes = (0..).take(len).map(|i| pattern(at.wrapping_add(i))).collect();
        let flow = self.flow;
        TcpSegment { flow, seq, ack, flags, window, options, segment_size: None }.build(payload)
    }

    /// The engine has taken the last segment, and holds that the app has acknowledged so many octets.
    ///
    /// RFC 9293 §3.10.7.4: an acknowledgement of something new brings its window; one that repeats the
    /// last brings it if it is no older than what brought the last window. A segment that the engine
    /// refuses may look like the latter, so the wider window is allowed.
    pub fn acknowledged(&mut self, octets: u64) {
        let (Some(offer), Some((initial, _))) = (self.offer.take(), self.heard) else { return };
        let octets = u32::try_from(octets).expect("a short run");
        let una = initial.advance(1).advance(octets);
        let advanced = una.offset_from(self.window.una) > 0;
        let newer = offer.seq.offset_from(self.window.seq);
        let latest = newer > 0 || newer == 0 && offer.ack.offset_from(self.window.ack) >= 0;
        let edge = offer.ack.advance(offer.window);
        if advanced {
            assert!(offer.ack.offset_from(una) >= 0, "acknowledged more than the app did");
            (self.edge, self.window) = (edge, Window { una, seq: offer.seq, ack: offer.ack });
        } else if offer.ack.offset_from(una) >= 0 && latest && edge.offset_from(self.edge) > 0 {
            self.edge = edge;
        }
    }

    /// Hears a segment of the engine, which must be in order with everything known.
    pub fn hear(&mut self, tcp: &TcpHeader<'_>, payload: &[u8], capacity: u32) {
        let flags = tcp.flags();
        if flags.contains(TcpFlags::RST) {
            return assert!(payload.is_empty(), "a reset with octets");
        }
        if flags.contains(TcpFlags::SYN) {
            self.hear_syn(tcp);
        }
        self.echo = tcp.options().timestamps.map_or(self.echo, |stamps| stamps.value);
        let Some((initial, shift)) = self.heard else {
            return assert!(payload.is_empty(), "octets before SYN-ACK");
        };
        if self.id.is_none() {
            return assert!(payload.is_empty(), "a closed flow sends octets");
        }
        self.check_payload(tcp, payload, initial);
        let shift = if flags.contains(TcpFlags::SYN) { 0 } else { shift };
        self.check_window(tcp, u32::from(tcp.window()) << shift, capacity);
    }

    fn hear_syn(&mut self, tcp: &TcpHeader<'_>) {
        assert!(tcp.flags().contains(TcpFlags::ACK) && self.id.is_some(), "a SYN of its own");
        let options = tcp.options();
        let offered = self.opened.scaled;
        assert!(offered || options.window_scale.is_none(), "window scaling out of nowhere");
        let scale = options.window_scale.unwrap_or(0);
        assert!(self.heard.is_none_or(|heard| heard == (tcp.seq(), scale)), "SYN-ACK changed");
        if self.heard.is_none() {
            self.heard = Some((tcp.seq(), scale));
            self.heard_to = tcp.seq().advance(1);
            self.edge = self.heard_to.advance(self.opened.window.into());
            self.window = Window { una: tcp.seq(), seq: self.opened.seq, ack: tcp.seq() };
        }
    }

    /// Invariant: octets sent are those written, and within the window; a probe has none.
    fn check_payload(&mut self, tcp: &TcpHeader<'_>, payload: &[u8], initial: SeqNumber) {
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let at = tcp.seq().offset_from(initial.advance(1));
        let end = tcp.seq().advance(len);
        if len > 0 {
            let at = u32::try_from(at).expect("octets before the first");
            assert!(at + len <= self.written, "octets that nobody wrote");
            assert!((at..).zip(payload).all(|(at, octet)| *octet == !pattern(at)), "wrong octets");
            let beyond = end.offset_from(self.edge);
            assert!(beyond <= 0, "{beyond} octets past the window");
        }
        let closing = tcp.flags().intersects(TcpFlags::FIN | TcpFlags::SYN);
        let end = end.advance(closing.into());
        if end.offset_from(self.heard_to) > 0 {
            self.heard_to = end;
        }
    }

    /// Invariant: unread and window fit the receive buffer.
    fn check_window(&self, tcp: &TcpHeader<'_>, window: u32, capacity: u32) {
        let acknowledged = tcp.ack().offset_from(self.opened.seq.advance(1));
        let Ok(acknowledged) = u32::try_from(acknowledged) else {
            panic!("acknowledges less than the SYN");
        };
        if !self.finished {
            assert!(acknowledged >= self.read, "read but not acknowledged");
            let unread = acknowledged - self.read;
            assert!(unread + window <= capacity, "{unread} unread and a window of {window}");
        }
    }
}

fn moved(seq: SeqNumber, by: i32) -> SeqNumber {
    seq.advance(by.cast_unsigned())
}

/// An octet for each place in a stream.
fn pattern(at: u32) -> u8 {
    let [low, high, ..] = at.wrapping_mul(0x9E37_79B1).rotate_left(15).to_le_bytes();
    low ^ high
}
