use pseudotcp_packet::Unreachable;

/// What shall become of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Through the proxy.
    Proxy,
    /// Past the proxy, by a socket of this machine.
    Direct,
    /// Nowhere, and the app is told.
    Reject(RejectKind),
    /// Nowhere, silently.
    Drop,
}

/// How an app is told that its flow is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectKind {
    /// An ICMP error of this kind.
    Unreachable(Unreachable),
    /// As a closed port answers: RST to TCP, ICMP port unreachable to all else.
    Closed,
}

/// A verdict, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What shall become of the flow.
    pub verdict: Verdict,
    /// The index of the rule that decided, in the order in which the rules were given; none where
    /// no rule matched.
    pub rule: Option<usize>,
    /// What turned [`Verdict::Proxy`] into a rejection, where something did.
    pub limit: Option<Limit>,
}

/// Why a flow is rejected that a rule would have sent through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// It is QUIC, which is blocked.
    Quic,
    /// It is IPv6, which is off, or which the proxy has not.
    Ipv6,
}
