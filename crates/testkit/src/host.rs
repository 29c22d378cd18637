use std::cell::Cell;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use pseudotcp_packet::{Packet, Transport};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::{HardwareAddress, IpCidr, IpEndpoint};

use crate::device::Device;
use crate::world::Node;

pub use smoltcp::socket::tcp::State as TcpState;

thread_local! {
    /// Milliseconds of virtual time: smoltcp asks a bare function for timestamp values.
    static TIMESTAMP: Cell<u32> = const { Cell::new(0) };
}

/// How a [`SmoltcpHost`] is set up.
#[derive(Clone, Debug)]
pub struct HostConfig {
    addresses: Vec<IpAddr>,
    mtu: usize,
    receive_buffer: usize,
    send_buffer: usize,
    timestamps: bool,
    delayed_ack: Option<Duration>,
    nagle: bool,
    seed: u64,
}

impl HostConfig {
    /// A host with one address; MTU 1,500 octets, buffers of 64 KiB, timestamps, no delayed
    /// acknowledgements, no Nagle.
    pub fn new(address: IpAddr) -> Self {
        Self {
            addresses: vec![address],
            mtu: 1_500,
            receive_buffer: 65_536,
            send_buffer: 65_536,
            timestamps: true,
            delayed_ack: None,
            nagle: false,
            seed: 0,
        }
    }

    /// Adds an address, of either version.
    #[must_use]
    pub fn with_address(mut self, address: IpAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// The largest packet that the host sends, and what its MSS option follows from.
    #[must_use]
    pub fn with_mtu(mut self, octets: usize) -> Self {
        self.mtu = octets;
        self
    }

    /// Octets of each TCP socket's buffers; more than 65,535 to receive makes it offer window
    /// scaling.
    #[must_use]
    pub fn with_buffers(mut self, receive: usize, send: usize) -> Self {
        (self.receive_buffer, self.send_buffer) = (receive, send);
        self
    }

    /// Whether sockets offer timestamps (RFC 7323). Default true.
    #[must_use]
    pub fn with_timestamps(mut self, timestamps: bool) -> Self {
        self.timestamps = timestamps;
        self
    }

    /// How long sockets delay acknowledgements. Default not at all.
    #[must_use]
    pub fn with_delayed_ack(mut self, delay: Duration) -> Self {
        self.delayed_ack = Some(delay);
        self
    }

    /// Whether sockets follow Nagle's rule. Default false.
    #[must_use]
    pub fn with_nagle(mut self, nagle: bool) -> Self {
        self.nagle = nagle;
        self
    }

    /// What initial sequence numbers follow from. Default zero.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// Names a TCP socket of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TcpId(SocketHandle);

/// Names a UDP socket of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UdpId(SocketHandle);

/// A TCP/IP host that shares no code with ours: smoltcp behind queues of [`Packet`]s, in virtual
/// time.
///
/// * What happened: [`handle_packet`](Node::handle_packet), [`handle_timeout`](Node::handle_timeout).
/// * Commands: [`connect`](Self::connect), [`listen`](Self::listen), [`send`](Self::send),
///   [`recv`](Self::recv), [`close`](Self::close), [`abort`](Self::abort), and for UDP
///   [`bind`](Self::bind), [`send_to`](Self::send_to), [`recv_from`](Self::recv_from). What they
///   make the host send leaves with the next `poll_transmit`.
/// * Outputs: [`poll_transmit`](Node::poll_transmit) until it returns nothing, then
///   [`poll_timeout`](Node::poll_timeout); [`poll_icmp`](Self::poll_icmp) for the ICMP errors that
///   arrived (smoltcp tells its sockets nothing of them).
///
/// Two of these hosts that lose packets while both send can talk past each other for ever: while
/// smoltcp retransmits, its bare acknowledgements carry the old sequence number, and each side
/// drops the other's as unacceptable. With a peer that acknowledges from `SND.NXT` (RFC 9293
/// §3.10.7.4) that does not happen.
pub struct SmoltcpHost {
    config: HostConfig,
    interface: Interface,
    sockets: SocketSet<'static>,
    device: Device,
    icmp: VecDeque<Packet>,
    epoch: Instant,
    now: Instant,
}

impl SmoltcpHost {
    /// A host without sockets; its clock starts at `now`.
    ///
    /// # Panics
    ///
    /// With more than two addresses.
    pub fn new(config: HostConfig, now: Instant) -> Self {
        let mut device = Device::new(config.mtu);
        let mut settings = Config::new(HardwareAddress::Ip);
        settings.random_seed = config.seed;
        let mut interface = Interface::new(settings, &mut device, smoltcp::time::Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let all = config.addresses.iter().map(|address| IpCidr::new((*address).into(), 0));
            all.for_each(|address| addresses.push(address).expect("too many addresses"));
        });
        let (sockets, icmp) = (SocketSet::new(Vec::new()), VecDeque::new());
        Self { config, interface, sockets, device, icmp, epoch: now, now }
    }

    /// Begins to open a connection; its SYN leaves with the next `poll_transmit`.
    ///
    /// # Panics
    ///
    /// With port zero or addresses that smoltcp refuses.
    pub fn connect(&mut self, local: SocketAddr, remote: SocketAddr) -> TcpId {
        let mut socket = self.new_socket();
        let context = self.interface.context();
        socket.connect(context, remote, local).expect("smoltcp refuses these addresses");
        TcpId(self.sockets.add(socket))
    }

    /// Waits for one connection.
    ///
    /// # Panics
    ///
    /// With port zero.
    pub fn listen(&mut self, local: SocketAddr) -> TcpId {
        let mut socket = self.new_socket();
        socket.listen(local).expect("smoltcp refuses this address");
        TcpId(self.sockets.add(socket))
    }

    /// Puts octets into the send buffer and returns how many fitted; zero also where the socket
    /// cannot send (any more).
    pub fn send(&mut self, id: TcpId, octets: &[u8]) -> usize {
        self.tcp_mut(id).send_slice(octets).unwrap_or(0)
    }

    /// Takes up to `max` octets out of the receive buffer, which opens the window.
    pub fn recv(&mut self, id: TcpId, max: usize) -> Bytes {
        let socket = self.tcp_mut(id);
        let mut octets = BytesMut::new();
        while socket.can_recv() && octets.len() < max {
            let room = max - octets.len();
            let taken = socket.recv(|part| {
                let len = part.len().min(room);
                octets.extend_from_slice(&part[..len]);
                (len, len)
            });
            if !taken.is_ok_and(|len| len > 0) {
                break;
            }
        }
        octets.freeze()
    }

    /// Sends FIN after what is buffered; receiving goes on.
    pub fn close(&mut self, id: TcpId) {
        self.tcp_mut(id).close();
    }

    /// Resets the connection.
    pub fn abort(&mut self, id: TcpId) {
        self.tcp_mut(id).abort();
    }

    /// The state of a connection. `Closed` also after a reset by the peer.
    pub fn state(&self, id: TcpId) -> TcpState {
        self.tcp(id).state()
    }

    /// Whether more octets may arrive or wait to be received: false after the peer's FIN, once
    /// all are taken, and after a reset.
    pub fn may_recv(&self, id: TcpId) -> bool {
        self.tcp(id).may_recv()
    }

    /// Octets that were sent but not acknowledged.
    pub fn unacknowledged(&self, id: TcpId) -> usize {
        self.tcp(id).send_queue()
    }

    /// Forgets a socket; nothing more leaves for it.
    pub fn remove(&mut self, id: TcpId) {
        self.sockets.remove(id.0);
    }

    /// Opens a UDP socket with room for 64 KiB and 256 datagrams each way.
    ///
    /// # Panics
    ///
    /// With port zero.
    pub fn bind(&mut self, local: SocketAddr) -> UdpId {
        let buffer =
            || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 256], vec![0; 65_536]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(local).expect("smoltcp refuses this address");
        UdpId(self.sockets.add(socket))
    }

    /// Sends a datagram; false where the buffer is full.
    pub fn send_to(&mut self, id: UdpId, remote: SocketAddr, octets: &[u8]) -> bool {
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(id.0);
        socket.send_slice(octets, IpEndpoint::from(remote)).is_ok()
    }

    /// Receives a datagram and its sender.
    pub fn recv_from(&mut self, id: UdpId) -> Option<(SocketAddr, Bytes)> {
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(id.0);
        let (octets, from) = socket.recv().ok()?;
        let sender = SocketAddr::new(from.endpoint.addr.into(), from.endpoint.port);
        Some((sender, Bytes::copy_from_slice(octets)))
    }

    /// The next ICMP or `ICMPv6` message that arrived.
    #[must_use]
    pub fn poll_icmp(&mut self) -> Option<Packet> {
        self.icmp.pop_front()
    }

    fn new_socket(&self) -> tcp::Socket<'static> {
        let buffer = |len| tcp::SocketBuffer::new(vec![0; len]);
        let (receive, send) = (self.config.receive_buffer, self.config.send_buffer);
        let mut socket = tcp::Socket::new(buffer(receive), buffer(send));
        socket.set_nagle_enabled(self.config.nagle);
        socket.set_ack_delay(self.config.delayed_ack.map(Into::into));
        socket.set_congestion_control(tcp::CongestionControl::Cubic);
        if self.config.timestamps {
            socket.set_tsval_generator(Some(|| TIMESTAMP.get()));
        }
        socket
    }

    fn tcp(&self, id: TcpId) -> &tcp::Socket<'static> {
        self.sockets.get(id.0)
    }

    fn tcp_mut(&mut self, id: TcpId) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(id.0)
    }

    /// Runs smoltcp at a time. Time only advances.
    fn advance(&mut self, now: Instant) -> smoltcp::time::Instant {
        self.now = self.now.max(now);
        let elapsed = self.now - self.epoch;
        TIMESTAMP.set(u32::try_from(elapsed.as_millis()).unwrap_or(u32::MAX));
        smoltcp::time::Instant::from_micros(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
    }

    fn run(&mut self, now: Instant) {
        let now = self.advance(now);
        self.interface.poll(now, &mut self.device, &mut self.sockets);
    }
}

impl Node for SmoltcpHost {
    fn handle_packet(&mut self, now: Instant, packet: &Packet) {
        for packet in packet.segments() {
            self.device.received.push_back(packet.to_bytes());
            if matches!(packet.transport(), Transport::Icmp(_) | Transport::Icmpv6(_)) {
                self.icmp.push_back(packet);
            }
        }
        self.run(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.run(now);
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Packet> {
        if self.device.sent.is_empty() {
            self.run(now);
        }
        let sent = self.device.sent.pop_front()?;
        Some(Packet::parse(sent).expect("smoltcp sent what we cannot parse"))
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let now = self.advance(self.now);
        let delay = self.interface.poll_delay(now, &self.sockets)?;
        Some(self.now + Duration::from(delay))
    }
}
