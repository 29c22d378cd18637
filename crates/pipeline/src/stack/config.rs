use std::time::Duration;

use ipnet::IpNet;

use super::answer::{TcpRefusalStyle, UdpRefusalStyle};
use super::ping::Ping;

/// The settings of a [`Stack`](super::Stack).
#[derive(Clone, Debug)]
pub struct Config {
    pub(super) tcp: pseudotcp_tcp::Config,
    pub(super) udp: pseudotcp_udp::Config,
    pub(super) open_timeout: Duration,
    pub(super) tcp_refusal: TcpRefusalStyle,
    pub(super) udp_refusal: UdpRefusalStyle,
    pub(super) ping: Ping,
    pub(super) device: Vec<IpNet>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tcp: pseudotcp_tcp::Config::default(),
            udp: pseudotcp_udp::Config::default(),
            open_timeout: Duration::from_secs(29),
            tcp_refusal: TcpRefusalStyle::default(),
            udp_refusal: UdpRefusalStyle::default(),
            ping: Ping::default(),
            device: Vec::new(),
        }
    }
}

/// The largest packet, in bytes, that a device with segmentation offload cuts by itself.
const SUPER_SEGMENT: u32 = 65_535;

impl Config {
    /// The settings for a device: its MTU in bytes, and whether it cuts TCP super-segments itself.
    pub fn for_device(mtu: u32, tcp_offload: bool) -> Self {
        let super_segment = if tcp_offload { SUPER_SEGMENT } else { 0 };
        Self::default()
            .tcp(pseudotcp_tcp::Config::default().mtu(mtu).max_segment_bytes(super_segment))
            .udp(pseudotcp_udp::Config::default().mtu(mtu).fragment_replies(true))
    }

    /// Sets whether the device cuts UDP super-datagrams itself (default: it does not).
    #[must_use]
    pub fn udp_offload(mut self, granted: bool) -> Self {
        self.udp = self.udp.super_datagrams(granted);
        self
    }

    /// Sets what the TCP engine does: MTU, buffers, limits, timeouts.
    #[must_use]
    pub fn tcp(mut self, tcp: pseudotcp_tcp::Config) -> Self {
        self.tcp = tcp;
        self
    }

    /// Sets what the UDP demux does: queues, limits, timeouts.
    #[must_use]
    pub fn udp(mut self, udp: pseudotcp_udp::Config) -> Self {
        self.udp = udp;
        self
    }

    /// Takes this stack's share of what is bounded where `stacks` of them (one at least) serve together
    /// (see [`Exchange`](crate::Exchange)).
    #[must_use]
    pub fn one_of(mut self, stacks: u8) -> Self {
        self.tcp = self.tcp.one_of(stacks.into());
        self.udp = self.udp.one_of(stacks.into());
        self
    }

    /// Sets how long a transport may take to open a flow (default 29 s). A longer time helps slow
    /// targets; a shorter one tells apps sooner. It should be a little less than the TCP engine's
    /// `open_deadline`, so that the cause is known when a held SYN expires.
    #[must_use]
    pub fn open_timeout(mut self, timeout: Duration) -> Self {
        self.open_timeout = timeout;
        self
    }

    /// Sets whether apps hear that they are connected before the proxy has answered (default: they
    /// do not). It saves a round trip to the proxy, and a refusal is then a reset.
    #[must_use]
    pub fn early_accept(mut self, early: bool) -> Self {
        self.tcp = self.tcp.early_accept(early);
        self
    }

    /// Sets how refused TCP opens are told (default: by the ICMP error that names the cause).
    #[must_use]
    pub fn tcp_refusal(mut self, style: TcpRefusalStyle) -> Self {
        self.tcp_refusal = style;
        self
    }

    /// Sets how UDP targets that cannot be reached are told (default: by an ICMP error that connected
    /// sockets hear).
    #[must_use]
    pub fn udp_refusal(mut self, style: UdpRefusalStyle) -> Self {
        self.udp_refusal = style;
        self
    }

    /// Sets what apps hear that ping somebody (default: a reply if the host answers, through the
    /// transport, a TCP connection).
    #[must_use]
    pub fn ping(mut self, ping: Ping) -> Self {
        self.ping = ping;
        self
    }

    /// Sets the device's addresses with their prefixes (default: none). What is sent to them, or to
    /// the broadcast address of their networks, goes nowhere.
    #[must_use]
    pub fn device_networks(mut self, networks: Vec<IpNet>) -> Self {
        self.device = networks;
        self
    }
}
