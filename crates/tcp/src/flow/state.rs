use std::fmt;

/// Where a flow stands: the states of RFC 9293 §3.3.2 for a passive opener, with the held SYN
/// in place of LISTEN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// A SYN is held; the far side is being opened.
    Held,
    /// A SYN was refused for now: the app's SYNs are absorbed until the pause is over.
    Silent,
    /// SYN-ACK was sent.
    SynReceived,
    /// Both directions are open.
    Established,
    /// The app finished; ours goes on.
    CloseWait,
    /// Both finished, the app first; our FIN is not acknowledged yet.
    LastAck,
    /// We finished; our FIN is not acknowledged yet.
    FinWait1,
    /// We finished, acknowledged; the app goes on.
    FinWait2,
    /// Both finished at once; our FIN is not acknowledged yet.
    Closing,
    /// Both finished and acknowledged, ours first.
    TimeWait,
    /// Over.
    Closed,
}

/// What can happen to a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The far side is open.
    Accept,
    /// The answer is put off.
    Defer,
    /// The pause is over and the app still asks.
    Resume,
    /// Our SYN was acknowledged.
    SynAcknowledged,
    /// The app's FIN arrived, and all before it.
    FinReceived,
    /// Our FIN was sent for the first time.
    FinSent,
    /// Our FIN was acknowledged.
    FinAcknowledged,
    /// RST either way, a refusal, or a timeout.
    Abort,
}

/// A step that the state does not know; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IllegalStep;

impl State {
    /// Takes a step: the only place where a flow's state changes.
    pub(crate) fn take(&mut self, step: Step) -> Result<(), IllegalStep> {
        *self = self.after(step).ok_or(IllegalStep)?;
        Ok(())
    }

    /// Every legal pair of a state and a step, and where it leads (RFC 9293 §3.3.2, figure 5).
    const fn after(self, step: Step) -> Option<Self> {
        match (step, self) {
            (Step::Accept, Self::Held) => Some(Self::SynReceived),
            (Step::Defer, Self::Held | Self::Silent) => Some(Self::Silent),
            (Step::Resume, Self::Silent) => Some(Self::Held),
            (Step::SynAcknowledged, Self::SynReceived) => Some(Self::Established),
            (Step::FinReceived, Self::Established) => Some(Self::CloseWait),
            (Step::FinReceived, Self::FinWait1) => Some(Self::Closing),
            (Step::FinSent, Self::Established) => Some(Self::FinWait1),
            (Step::FinSent, Self::CloseWait) => Some(Self::LastAck),
            (Step::FinAcknowledged, Self::FinWait1) => Some(Self::FinWait2),
            (Step::FinReceived, Self::FinWait2) | (Step::FinAcknowledged, Self::Closing) => {
                Some(Self::TimeWait)
            }
            (Step::FinAcknowledged, Self::LastAck) => Some(Self::Closed),
            (Step::Abort, from) if !from.is_terminal() => Some(Self::Closed),
            _ => None,
        }
    }

    /// Neither accepted nor refused yet.
    pub(crate) const fn is_held(self) -> bool {
        matches!(self, Self::Held | Self::Silent)
    }

    /// Before the end of the handshake: counts against the backlog.
    pub(crate) const fn is_opening(self) -> bool {
        matches!(self, Self::Held | Self::Silent | Self::SynReceived)
    }

    /// Our direction may carry data and FIN.
    pub(crate) const fn sends(self) -> bool {
        !self.is_opening() && !matches!(self, Self::FinWait2) && !self.is_terminal()
    }

    /// The app's FIN has arrived.
    pub(crate) const fn has_apps_fin(self) -> bool {
        matches!(self, Self::CloseWait | Self::LastAck | Self::Closing)
    }

    /// Our FIN was sent; the app may stay silent only so long.
    pub(crate) const fn is_closing(self) -> bool {
        matches!(self, Self::FinWait1 | Self::FinWait2 | Self::Closing | Self::LastAck)
    }

    /// The connection is over; at most unread bytes remain.
    pub(crate) const fn is_terminal(self) -> bool {
        matches!(self, Self::TimeWait | Self::Closed)
    }
}

/// The name that RFC 9293 gives it, in capitals.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Held => "HELD",
            Self::Silent => "SILENT",
            Self::SynReceived => "SYN-RECEIVED",
            Self::Established => "ESTABLISHED",
            Self::CloseWait => "CLOSE-WAIT",
            Self::LastAck => "LAST-ACK",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::Closing => "CLOSING",
            Self::TimeWait => "TIME-WAIT",
            Self::Closed => "CLOSED",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    const STATES: [State; 11] = [
        State::Held,
        State::Silent,
        State::SynReceived,
        State::Established,
        State::CloseWait,
        State::LastAck,
        State::FinWait1,
        State::FinWait2,
        State::Closing,
        State::TimeWait,
        State::Closed,
    ];
    const STEPS: [Step; 8] = [
        Step::Accept,
        Step::Defer,
        Step::Resume,
        Step::SynAcknowledged,
        Step::FinReceived,
        Step::FinSent,
        Step::FinAcknowledged,
        Step::Abort,
    ];

    #[test]
    fn the_whole_table() {
        let mut table = String::new();
        for step in STEPS {
            for mut state in STATES {
                let before = state;
                if state.take(step).is_ok() {
                    let step = format!("{step:?}");
                    writeln!(table, "{step:<16} {before:<13} -> {state}").unwrap();
                }
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn an_illegal_step_changes_nothing() {
        let mut state = State::TimeWait;
        assert_eq!((state.take(Step::Accept), state), (Err(IllegalStep), State::TimeWait));
    }
}
