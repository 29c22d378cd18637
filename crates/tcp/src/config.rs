use std::time::Duration;

/// The largest IP packet that the engine builds, in bytes.
pub(crate) const MAX_PACKET: u32 = 65_535;
/// RFC 791 §3.2: the size every IPv4 host must take, and the floor of [`Config::mtu`].
const MIN_MTU: u32 = 576;
/// The floor of [`Config::budget`]: an eighth of it must hold one 64 KiB item.
const MIN_BUDGET: usize = 1024 * 1024;
/// RFC 7323 §2.3: 65,535 × 2¹⁴.
const MAX_WINDOW: u32 = 65_535 << 14;

/// RFC 1122 §4.2.3.2, RFC 9293 §3.8.6.3.
const MAX_ACK_DELAY: Duration = Duration::from_millis(500);

/// The longest time that anything waits: an instant so far ahead can still be told.
pub(crate) const FOREVER: Duration = Duration::from_hours(24 * 365);

/// The engine's limits and timeouts. All have defaults that suit apps on this machine.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) mtu: u32,
    pub(crate) max_segment_bytes: u32,
    pub(crate) receive_buffer: u32,
    pub(crate) turns: u32,
    pub(crate) send_buffer: usize,
    pub(crate) budget: usize,
    pub(crate) max_flows: u32,
    pub(crate) backlog: u32,
    pub(crate) open_deadline: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) closing_timeout: Duration,
    pub(crate) user_timeout: Duration,
    pub(crate) congestion: CongestionControl,
    pub(crate) ack_delay: Duration,
    pub(crate) ecn: bool,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) early_accept: bool,
}

/// Who may slow a flow down besides the app, by its window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CongestionControl {
    /// Nobody: the app is on this machine, and no network lies between.
    #[default]
    Local,
    /// CUBIC (RFC 9438): the device is a gateway, and apps are on other hosts.
    Cubic,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mtu: 1_500,
            max_segment_bytes: 0,
            receive_buffer: 256 * 1024,
            turns: 16,
            send_buffer: 512 * 1024,
            budget: 256 * 1024 * 1024,
            max_flows: 65_536,
            backlog: 4_096,
            open_deadline: Duration::from_secs(30),
            idle_timeout: Duration::from_mins(124),
            closing_timeout: Duration::from_mins(4),
            user_timeout: Duration::from_mins(2),
            congestion: CongestionControl::default(),
            ack_delay: Duration::from_millis(4),
            ecn: true,
            keep_alive: None,
            early_accept: false,
        }
    }
}

impl Config {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The device's MTU in bytes (default 1,500; at least 576, at most 65,535). It decides the MSS
    /// that is offered and the size of what is sent: more means fewer packets.
    #[must_use]
    pub fn mtu(mut self, bytes: u32) -> Self {
        self.mtu = bytes.clamp(MIN_MTU, MAX_PACKET);
        self
    }

    /// The largest super-segment, as IP packet bytes, that the device cuts by itself (default 0:
    /// none, every segment fits the MTU; at most 65,535). More means fewer packets and less CPU.
    #[must_use]
    pub fn max_segment_bytes(mut self, bytes: u32) -> Self {
        self.max_segment_bytes = bytes.min(MAX_PACKET);
        self
    }

    /// The most bytes of one app that wait unread (default 256 KiB); the window offered never
    /// exceeds it. A flow's own limit is twice what [`read`](crate::Engine::read) takes within a
    /// round trip to the app, or 10 ms, and begins with 64 KiB; where nothing is read for sixteen
    /// times as long it is that again. While more apps send at once than there are
    /// [`turns`](Self::turns), windows whose limit is above 64 KiB grow one after another; while more
    /// than 64 flows are being opened at once, their first windows are two segments. More means speed
    /// where apps are far, paid in memory per flow.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = bytes.clamp(2_048, MAX_WINDOW);
        self
    }

    /// How many apps that send at once may each have a large window (default 16; at least 1): while there
    /// are more, 256 KiB are promised to so many at a time. Hosts cut what a flow sends into pieces as
    /// large as its pace, so fewer have larger pieces.
    #[must_use]
    pub fn turns(mut self, flows: u32) -> Self {
        self.turns = flows.max(1);
        self
    }

    /// The most bytes to one app that wait for its ACK (default 512 KiB, at most 1 GiB). A flow's
    /// own limit follows what the app acknowledges as [`receive_buffer`](Self::receive_buffer)
    /// says. More means speed towards apps with large windows, paid in memory per flow.
    #[must_use]
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = bytes.clamp(2_048, MAX_WINDOW as usize);
        self
    }

    /// The most bytes buffered for all flows together (default 256 MiB; at least 1 MiB). As it
    /// fills, windows and credits of all flows shrink.
    #[must_use]
    pub fn budget(mut self, bytes: usize) -> Self {
        self.budget = bytes.max(MIN_BUDGET);
        self
    }

    /// The most flows at once (default 65,536). Beyond it a new one takes the place of one that is
    /// idle, which ends by RST ([`CloseCause::Evicted`](crate::CloseCause::Evicted)): of the 256
    /// whose timers come next, the one silent for longest, 10 seconds at least. Where none is idle
    /// the SYN is dropped silently, so that the app tries again, and counted.
    #[must_use]
    pub fn max_flows(mut self, flows: u32) -> Self {
        self.max_flows = flows.max(1);
        self
    }

    /// Takes this engine's share of what is bounded where `engines` of them (one at least) serve
    /// together: of the budget, the flows, the backlog and the turns.
    #[must_use]
    pub fn one_of(self, engines: u32) -> Self {
        let engines = engines.max(1);
        let budget = self.budget / engines as usize;
        let (flows, backlog) = (self.max_flows.div_ceil(engines), self.backlog.div_ceil(engines));
        let turns = self.turns.div_ceil(engines);
        self.budget(budget).max_flows(flows).backlog(backlog).turns(turns)
    }

    /// The most flows that are being opened at once (default 4,096). Beyond it SYNs are dropped
    /// silently, so that the app tries again, and counted.
    #[must_use]
    pub fn backlog(mut self, flows: u32) -> Self {
        self.backlog = flows;
        self
    }

    /// How long a SYN may be held before [`Event::Expired`](crate::Event::Expired) (default 30 s).
    #[must_use]
    pub fn open_deadline(mut self, after: Duration) -> Self {
        self.open_deadline = after.min(FOREVER);
        self
    }

    /// How long an open flow may be silent (default 7,440 s, the 2 hours 4 minutes of RFC 5382
    /// §5). Less frees memory sooner and cuts long-lived quiet connections.
    #[must_use]
    pub fn idle_timeout(mut self, after: Duration) -> Self {
        self.idle_timeout = after.min(FOREVER);
        self
    }

    /// How long an app whose peer has finished may be silent before its half is reset (default
    /// 240 s, the transitory timeout of RFC 5382 §5).
    #[must_use]
    pub fn closing_timeout(mut self, after: Duration) -> Self {
        self.closing_timeout = after.min(FOREVER);
        self
    }

    /// How long retransmissions and window probes go unanswered before the flow is given up
    /// (default 120 s; RFC 9293 §3.8.3 asks for 100 s at least). SYN-ACK is repeated for three minutes
    /// in any case.
    #[must_use]
    pub fn user_timeout(mut self, after: Duration) -> Self {
        self.user_timeout = after.min(FOREVER);
        self
    }

    /// How long a single segment may wait for its acknowledgement (default 4 ms; at most the 500 ms
    /// of RFC 1122 §4.2.3.2). Only what came in order and was not pushed waits, and never the
    /// second full segment. Longer saves packets when answers are quick, and slows apps that wait.
    #[must_use]
    pub fn ack_delay(mut self, after: Duration) -> Self {
        self.ack_delay = after.min(MAX_ACK_DELAY);
        self
    }

    /// Whether explicit congestion notification is agreed to where an app asks for it (default: it
    /// is; RFC 3168). What arrives marked is echoed; what is sent is marked as capable only where
    /// [`CongestionControl`] would answer. Off for devices that drop marked packets.
    #[must_use]
    pub fn ecn(mut self, agreed: bool) -> Self {
        self.ecn = agreed;
        self
    }

    /// After how long a silence an app is asked whether it is still there (default: never, as RFC
    /// 9293 §3.8.4 wants it). Asked again every 75 s or sooner, and given up after nine times
    /// without an answer. Shorter finds dead apps sooner, and wakes idle machines.
    #[must_use]
    pub fn keep_alive(mut self, after: Option<Duration>) -> Self {
        self.keep_alive = after.map(|after| after.clamp(Duration::from_secs(1), FOREVER));
        self
    }

    /// Whether SYN-ACK leaves before the far side has answered (default: it does not). Apps send
    /// their first data one round trip of the tunnel sooner, and every port looks open: a refusal
    /// is then RST. [`Event::Opening`](crate::Event::Opening) comes all the same, and has to be
    /// answered in time by the owner, as [`Event::Expired`](crate::Event::Expired) does not come.
    #[must_use]
    pub fn early_accept(mut self, early: bool) -> Self {
        self.early_accept = early;
        self
    }

    /// How what is sent to apps is kept from congesting a network (default: not at all, as there
    /// is none). [`CongestionControl::Cubic`] is right where apps are on other hosts; on this one
    /// it only costs speed.
    #[must_use]
    pub fn congestion(mut self, control: CongestionControl) -> Self {
        self.congestion = control;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_engines_have_together_what_one_has() {
        let whole = Config::default().budget(90 << 20).max_flows(100).backlog(10);
        let share = whole.one_of(3);
        assert_eq!((share.budget, share.max_flows), (30 << 20, 34));
        assert_eq!((share.backlog, share.turns), (4, 6));
        assert_eq!(Config::default().one_of(0).max_flows, Config::default().max_flows);
    }
}
