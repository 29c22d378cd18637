use std::num::NonZeroU16;

use pseudotcp_packet::build::TcpSegment;
use pseudotcp_packet::{Body, Ecn, Packet, SeqNumber, TcpFlags, TcpOptions, Timestamps};

use super::Flow;
use super::opening::offered_mss;
use super::receive::Terms;
use super::send::Planned;
use super::state::{State, Step};
use crate::context::Context;
use crate::time_wait::{MIN_TIME_WAIT, Remains};

impl Flow {
    /// The next segment that the flow has to send.
    pub(crate) fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Option<Packet> {
        match self.state {
            State::Held | State::Silent | State::TimeWait | State::Closed => None,
            State::SynReceived => self.syn_ack(cx).or_else(|| self.owed_ack(cx)),
            _ => self.duplicate_ack(cx).or_else(|| self.data(cx)).or_else(|| self.owed_ack(cx)),
        }
    }

    /// The last acknowledgement of a connection that enters TIME-WAIT.
    pub(crate) fn last_ack(&mut self, cx: &mut Context<'_>) -> Option<Packet> {
        self.receiver.owes_ack().then(|| self.bare_ack(cx, self.sender.next()))
    }

    /// What TIME-WAIT has to know.
    pub(crate) fn remains(&self, cx: &Context<'_>) -> Remains {
        Remains {
            key: self.key,
            send_next: self.sender.next(),
            receive_next: self.receiver.next(),
            recent: self.timestamps.map(|ours| ours.recent),
            hold: (self.sender.timeout() * 4).max(MIN_TIME_WAIT),
            now: cx.now,
        }
    }

    /// D14, D15: MSS always, every other option only where the app offered it.
    fn syn_ack(&mut self, cx: &mut Context<'_>) -> Option<Packet> {
        if !self.sender.owes_syn() {
            return None;
        }
        let options = TcpOptions {
            mss: Some(offered_mss(cx.config, self.key.is_ipv6())),
            window_scale: self.opening.as_ref().and_then(|opening| opening.window_scale),
            sack_permitted: self.sack,
            ..self.options(cx)
        };
        // RFC 7323 §2.2: the window of a SYN is never scaled.
        let window = self.receiver.offer(&self.first_terms(cx), false);
        let seq = self.sender.una();
        self.sender.syn_sent(cx.now);
        self.receiver.ack_sent();
        let flags = TcpFlags::SYN | self.ecn.syn_ack_flags();
        let header = Header { seq, flags, window, options };
        Some(self.build(cx, &header, Body::default(), None, Ecn::NotEct))
    }

    /// What counts as a duplicate must carry nothing else.
    fn duplicate_ack(&mut self, cx: &mut Context<'_>) -> Option<Packet> {
        self.receiver.owes_bare_ack().then(|| self.bare_ack(cx, self.sender.next()))
    }

    fn owed_ack(&mut self, cx: &mut Context<'_>) -> Option<Packet> {
        if self.sender.take_probe() {
            // RFC 9293 §3.8.6.1. DEVIATION: the probe carries no byte, but an old number, which
            // must be answered as well; so nothing ever lies beyond the app's window (D10).
            cx.stats.probes += 1;
            return Some(self.bare_ack(cx, self.sender.una().advance(u32::MAX)));
        }
        self.receiver.owes_ack().then(|| self.bare_ack(cx, self.sender.next()))
    }

    fn bare_ack(&mut self, cx: &mut Context<'_>, seq: SeqNumber) -> Packet {
        let mut options = self.options(cx);
        if self.sack {
            options.sack = self.receiver.sack();
        }
        let window = self.offer(cx);
        self.receiver.bare_ack_sent();
        let header = Header { seq, flags: self.ecn.ack_flags(), window, options };
        self.build(cx, &header, Body::default(), None, Ecn::NotEct)
    }

    fn data(&mut self, cx: &mut Context<'_>) -> Option<Packet> {
        if !self.state.sends() {
            return None;
        }
        let options = self.options(cx);
        let Planned { seq, body, push, fin, fresh } =
            self.sender.plan(cx.now, self.max_payload(cx), cx.stats)?;
        if fin {
            // Illegal, and without effect, when the FIN goes again.
            self.step(Step::FinSent);
        }
        let mut flags = self.ecn.ack_flags();
        if fresh {
            flags |= self.ecn.take_answer();
        }
        if push {
            flags |= TcpFlags::PSH;
        }
        if fin {
            flags |= TcpFlags::FIN;
        }
        let window = self.offer(cx);
        self.receiver.ack_sent();
        let size = u16::try_from(self.sender.mss()).ok().and_then(NonZeroU16::new);
        let size = size.filter(|size| body.octets() > usize::from(size.get()));
        let ecn = self.codepoint(fresh);
        Some(self.build(cx, &Header { seq, flags, window, options }, body, size, ecn))
    }

    fn offer(&mut self, cx: &mut Context<'_>) -> u16 {
        let terms = self.terms(cx);
        self.note_want(cx, &terms);
        let promised = self.receiver.promised();
        let window = self.receiver.offer(&terms, true);
        let grown = self.receiver.promised().saturating_sub(promised);
        if grown > 0 && !self.receiver.is_small() {
            cx.turns.grown(cx.now, self.id, &mut self.ledger.turn, promised, grown);
        }
        window
    }

    /// Two segments where many begin at once: the paces of apps follow the round trips that they
    /// measure first, and those are short where little is under way.
    fn first_terms(&self, cx: &Context<'_>) -> Terms {
        let most = if cx.crowded { 2 * self.sender.mss() } else { u32::MAX };
        Terms { most, ..self.terms(cx) }
    }

    /// Payload octets of the largest packet: one MSS, or as many as the device cuts.
    fn max_payload(&self, cx: &Context<'_>) -> u32 {
        // Devices may repeat the flags of a super-segment on each piece; CWR must go only once.
        let largest = if self.ecn.owes_answer() { 0 } else { cx.config.max_segment_bytes };
        largest.saturating_sub(self.headers()).max(self.sender.mss())
    }

    /// The options of every segment.
    pub(super) fn options(&self, cx: &Context<'_>) -> TcpOptions {
        let timestamps = self
            .timestamps
            .map(|ours| Timestamps { value: cx.now.timestamp(ours.offset), echo: ours.recent });
        TcpOptions { timestamps, ..TcpOptions::default() }
    }

    fn build(
        &self,
        cx: &mut Context<'_>,
        header: &Header,
        body: Body,
        segment_size: Option<NonZeroU16>,
        ecn: Ecn,
    ) -> Packet {
        TcpSegment {
            flow: self.key.reversed(),
            seq: header.seq,
            ack: Some(self.receiver.next()),
            flags: header.flags,
            window: header.window,
            options: header.options,
            segment_size,
        }
        .build_in(&mut cx.outbox.heads, body, ecn)
    }
}

/// What differs between the segments of a flow.
struct Header {
    seq: SeqNumber,
    flags: TcpFlags,
    window: u16,
    options: TcpOptions,
}
