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

/// The name that RFC 9293 gives it, in capitals.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
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
