//! Packets in, packets out, at a time: one app and one server address.
//!
//! Numbers are relative: the app's SYN is number 0 of its direction, ours number 0 of the other.
//! Segments that come out are told as text, `flags seq[+len] ack n win w options`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pseudotcp_packet::build::TcpSegment;
use pseudotcp_packet::{
    FlowKey, Packet, Protocol, SeqNumber, TcpFlags, TcpHeader, TcpOptions, Timestamps, Transport,
};
use pseudotcp_tcp::{Config, Engine, Event, FlowId, State};
use pseudotcp_testkit::epoch;

/// Where the app's numbers begin in most tests.
const IRS: u32 = 1_000_000;

/// An engine and the present.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) now: Instant,
    /// The number of the app's SYN.
    pub(crate) irs: SeqNumber,
    /// The numbers of our SYNs.
    iss: HashMap<FlowKey, SeqNumber>,
    pub(crate) port: u16,
    pub(crate) ipv6: bool,
}

/// A segment from the app.
#[derive(Clone, Debug)]
pub(crate) struct Seg {
    flags: TcpFlags,
    seq: u32,
    ack: Option<u32>,
    window: u16,
    options: TcpOptions,
    payload: Bytes,
}

pub(crate) fn syn() -> Seg {
    Seg {
        flags: TcpFlags::SYN,
        seq: 0,
        ack: None,
        window: 65_535,
        options: TcpOptions { mss: Some(1_460), ..TcpOptions::default() },
        payload: Bytes::new(),
    }
}

/// A SYN as Linux sends it: MSS, SACK, timestamps, window scale 7.
pub(crate) fn linux_syn() -> Seg {
    syn().wscale(7).sack_ok().ts(1_000, 0)
}

pub(crate) fn ack(seq: u32, ack: u32) -> Seg {
    let options = TcpOptions::default();
    Seg {
        flags: TcpFlags::empty(),
        seq,
        ack: Some(ack),
        window: 65_535,
        options,
        payload: Bytes::new(),
    }
}

pub(crate) fn data(seq: u32, number: u32, payload: impl Into<Bytes>) -> Seg {
    Seg { flags: TcpFlags::PSH, payload: payload.into(), ..ack(seq, number) }
}

pub(crate) fn fin(seq: u32, number: u32) -> Seg {
    Seg { flags: TcpFlags::FIN, ..ack(seq, number) }
}

pub(crate) fn rst(seq: u32) -> Seg {
    Seg { flags: TcpFlags::RST, ack: None, ..ack(seq, 0) }
}

impl Seg {
    pub(crate) fn mss(mut self, mss: Option<u16>) -> Self {
        self.options.mss = mss;
        self
    }

    pub(crate) fn wscale(mut self, shift: u8) -> Self {
        self.options.window_scale = Some(shift);
        self
    }

    pub(crate) fn sack_ok(mut self) -> Self {
        self.options.sack_permitted = true;
        self
    }

    pub(crate) fn ts(mut self, value: u32, echo: u32) -> Self {
        self.options.timestamps = Some(Timestamps { value, echo });
        self
    }

    pub(crate) fn has_timestamps(&self) -> bool {
        self.options.timestamps.is_some()
    }

    /// Blocks in our numbers: what of our stream the app has.
    pub(crate) fn sack(mut self, bench: &Bench, blocks: &[(u32, u32)]) -> Self {
        let iss = bench.iss();
        self.options.sack =
            blocks.iter().map(|&(start, end)| (iss.advance(start), iss.advance(end))).collect();
        self
    }

    pub(crate) fn win(mut self, window: u16) -> Self {
        self.window = window;
        self
    }

    pub(crate) fn seq(mut self, seq: u32) -> Self {
        self.seq = seq;
        self
    }

    pub(crate) fn with(mut self, flags: TcpFlags) -> Self {
        self.flags |= flags;
        self
    }

    pub(crate) fn without(mut self, flags: TcpFlags) -> Self {
        self.flags = self.flags.without(flags);
        self
    }

    pub(crate) fn ack_of(mut self, number: u32) -> Self {
        self.ack = Some(number);
        self
    }

    pub(crate) fn without_ack(mut self) -> Self {
        self.ack = None;
        self
    }
}

impl Bench {
    pub(crate) fn new(config: Config) -> Self {
        let engine = Engine::new(config, [9; 16]);
        let (irs, iss) = (SeqNumber::new(IRS), HashMap::new());
        Self { engine, now: epoch(), irs, iss, port: 5_000, ipv6: false }
    }

    /// The five-tuple; the app is the source.
    pub(crate) fn flow(&self) -> FlowKey {
        let (app, server): (IpAddr, IpAddr) = if self.ipv6 {
            ("fd00::1".parse().unwrap(), "2001:db8::7".parse().unwrap())
        } else {
            ([10, 0, 0, 1].into(), [192, 0, 2, 7].into())
        };
        FlowKey::new(Protocol::Tcp, (app, self.port).into(), (server, 80).into())
    }

    /// The number of our SYN in the present flow, once it was seen.
    pub(crate) fn iss(&self) -> SeqNumber {
        self.iss.get(&self.flow()).copied().unwrap_or_default()
    }

    /// Forgets the numbers of all flows, and the memory that they took.
    pub(crate) fn forget(&mut self) {
        self.iss = HashMap::new();
    }

    /// The packet that the app would send.
    pub(crate) fn packet(&self, seg: Seg) -> Packet {
        let packet = TcpSegment {
            flow: self.flow(),
            seq: self.irs.advance(seg.seq),
            ack: seg.ack.map(|ack| self.iss().advance(ack)),
            flags: seg.flags,
            window: seg.window,
            options: seg.options,
            segment_size: None,
        }
        .build(seg.payload);
        let complete = packet.segments().next().unwrap().to_bytes();
        Packet::parse(complete).unwrap()
    }

    /// The app sends a segment.
    pub(crate) fn app(&mut self, seg: Seg) {
        let packet = self.packet(seg);
        self.engine.handle_segment(self.now, &packet);
    }

    /// Time passes; every timer fires when it is due.
    pub(crate) fn after(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.engine.poll_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            self.engine.handle_timeout(self.now);
        }
        self.now = end;
    }

    pub(crate) fn after_ms(&mut self, millis: u64) {
        self.after(Duration::from_millis(millis));
    }

    /// The next packet as it is.
    pub(crate) fn transmit(&mut self) -> Option<Packet> {
        let packet = self.engine.poll_transmit(self.now)?;
        if let Transport::Tcp(tcp) = packet.transport()
            && tcp.flags().contains(TcpFlags::SYN)
        {
            self.iss.insert(packet.flow().unwrap().reversed(), tcp.seq());
        }
        Some(packet)
    }

    /// Everything that comes out, as text.
    pub(crate) fn out(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.transmit().map(|packet| self.tell(&packet))).collect()
    }

    /// The payload of everything that comes out.
    pub(crate) fn out_bytes(&mut self) -> Vec<u8> {
        let packets = std::iter::from_fn(|| self.transmit());
        packets.flat_map(|packet| packet.body().concat()).collect()
    }

    /// All events.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.engine.poll_event()).collect()
    }

    /// SYN in, `Opening` out.
    pub(crate) fn opening(&mut self, syn: Seg) -> FlowId {
        self.app(syn);
        match self.events()[..] {
            [Event::Opening { id, flow }] if flow == self.flow() => id,
            ref other => panic!("{other:?}"),
        }
    }

    /// A whole handshake.
    pub(crate) fn open_with(&mut self, syn: Seg) -> FlowId {
        let timestamps = syn.options.timestamps;
        let id = self.opening(syn);
        self.engine.accept(self.now, id);
        assert_eq!(self.out().len(), 1);
        let last = ack(1, 1);
        self.app(match timestamps {
            Some(ts) => last.ts(ts.value, 0),
            None => last,
        });
        assert_eq!((self.events(), self.out()), (vec![], vec![]));
        assert_eq!(self.state(id), State::Established);
        id
    }

    /// A whole handshake without options but the MSS.
    pub(crate) fn open(&mut self) -> FlowId {
        self.open_with(syn())
    }

    /// The flow's state; `Closed` where it is no more.
    pub(crate) fn state(&self, id: FlowId) -> State {
        self.engine.flows().find(|info| info.id == id).map_or(State::Closed, |info| info.state)
    }

    /// Everything that can be read.
    pub(crate) fn read(&mut self, id: FlowId) -> Vec<u8> {
        std::iter::from_fn(|| self.engine.read(self.now, id, usize::MAX)).flatten().collect()
    }

    pub(crate) fn write(&mut self, id: FlowId, data: impl Into<Bytes>) {
        self.engine.write(self.now, id, data.into());
    }

    pub(crate) fn finish(&mut self, id: FlowId) {
        self.engine.finish(self.now, id);
    }

    fn tell(&self, packet: &Packet) -> String {
        let Transport::Tcp(tcp) = packet.transport() else { return packet.to_string() };
        assert_eq!(packet.flow().unwrap(), self.flow().reversed());
        let seq = tcp.seq().offset_from(self.iss());
        let mut text = format!("{} {seq}", tcp.flags());
        if packet.payload_len() > 0 {
            write!(text, "+{}", packet.payload_len()).unwrap();
        }
        if tcp.flags().contains(TcpFlags::ACK) {
            write!(text, " ack {}", tcp.ack().offset_from(self.irs)).unwrap();
        }
        write!(text, " win {}", tcp.window()).unwrap();
        self.tell_options(&tcp, &mut text);
        if let Some(size) = packet.segment_size() {
            write!(text, " cut {size}").unwrap();
        }
        text
    }

    fn tell_options(&self, tcp: &TcpHeader<'_>, text: &mut String) {
        let options = tcp.options();
        if let Some(mss) = options.mss {
            write!(text, " mss {mss}").unwrap();
        }
        if let Some(shift) = options.window_scale {
            write!(text, " ws {shift}").unwrap();
        }
        if options.sack_permitted {
            text.push_str(" sackok");
        }
        if let Some(ts) = options.timestamps {
            write!(text, " echo {}", ts.echo).unwrap();
        }
        for (start, end) in options.sack.iter() {
            let (start, end) = (start.offset_from(self.irs), end.offset_from(self.irs));
            write!(text, " sack {start}-{end}").unwrap();
        }
    }
}
