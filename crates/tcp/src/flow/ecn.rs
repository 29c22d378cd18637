use pseudotcp_packet::{Ecn, SeqNumber, TcpFlags};

use super::Flow;
use crate::context::Context;
use crate::segment::Segment;

/// Explicit congestion notification of one flow (RFC 3168).
#[derive(Clone, Copy, Debug)]
pub(super) struct EcnState {
    /// Negotiated.
    active: bool,
    /// A mark has arrived: every acknowledgement says so until the app answers.
    echo: bool,
    /// The app's report was answered, and is told so with the next new data.
    answered: bool,
    /// SND.NXT when it was answered last: once in a window is enough.
    until: SeqNumber,
}

impl EcnState {
    /// RFC 3168 §6.1.1: an ECN-setup SYN has both flags.
    pub(super) fn new(syn: &Segment<'_>, wanted: bool, start: SeqNumber) -> Self {
        let active = wanted && is_setup(syn);
        Self { active, echo: false, answered: false, until: start }
    }

    /// RFC 3168 §6.1.1.1: an app that repeats its SYN without the flags has no ECN after all.
    pub(super) fn on_same_syn(&mut self, syn: &Segment<'_>) {
        self.active &= is_setup(syn);
    }

    /// The flag of SYN-ACK.
    pub(super) fn syn_ack_flags(self) -> TcpFlags {
        if self.active { TcpFlags::ECE } else { TcpFlags::empty() }
    }

    /// The flag of every acknowledgement.
    pub(super) fn ack_flags(self) -> TcpFlags {
        if self.echo { TcpFlags::ECE } else { TcpFlags::empty() }
    }

    /// Whether the next new data has to say that the congestion window was reduced.
    pub(super) fn owes_answer(self) -> bool {
        self.answered
    }

    /// The flag of new data: RFC 3168 §6.1.2, one CWR for each reduction.
    pub(super) fn take_answer(&mut self) -> TcpFlags {
        let answered = std::mem::take(&mut self.answered);
        if answered { TcpFlags::CWR } else { TcpFlags::empty() }
    }
}

/// Marks in, and reports in.
impl Flow {
    /// RFC 3168 §6.1.3: a mark is echoed until the app says that it has slowed down. Whether the
    /// segment bears one.
    pub(super) fn note_mark(&mut self, cx: &mut Context<'_>, segment: &Segment<'_>) -> bool {
        if !self.ecn.active {
            return false;
        }
        let marked = segment.ecn == Ecn::Ce;
        self.ecn.echo = marked || self.ecn.echo && !segment.has(TcpFlags::CWR);
        cx.stats.marks_in += u64::from(marked);
        marked
    }

    /// RFC 3168 §6.1.2: a report counts as a loss, once in a window of data.
    pub(super) fn take_report(&mut self, cx: &mut Context<'_>, segment: &Segment<'_>) {
        let fresh = self.sender.una().offset_from(self.ecn.until) > 0;
        if self.ecn.active && segment.has(TcpFlags::ECE) && fresh {
            self.ecn.until = self.sender.next();
            self.ecn.answered = true;
            self.sender.on_congestion(cx.now);
            cx.stats.marks_reported += 1;
        }
    }

    /// RFC 3168 §6.1.2 and §6.1.5: new data may be marked, if a report would be answered; what is
    /// sent again, and bare acknowledgements, may not.
    pub(super) fn codepoint(&self, new_data: bool) -> Ecn {
        let capable = self.ecn.active && new_data && self.sender.answers_congestion();
        if capable { Ecn::Ect0 } else { Ecn::NotEct }
    }
}

fn is_setup(syn: &Segment<'_>) -> bool {
    syn.has(TcpFlags::ECE | TcpFlags::CWR) && syn.ecn == Ecn::NotEct
}
