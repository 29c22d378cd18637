use std::collections::VecDeque;

use bytes::Bytes;
use pseudotcp_packet::Packet;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

/// The most packets that wait in each direction.
const CAPACITY: usize = 256;

/// smoltcp's network device: two queues of packets.
pub(super) struct Queues {
    input: VecDeque<Bytes>,
    output: VecDeque<Bytes>,
    mtu: usize,
}

impl Queues {
    pub(super) fn new(mtu: usize) -> Self {
        Self { input: VecDeque::new(), output: VecDeque::new(), mtu }
    }

    pub(super) fn has_room_in(&self) -> bool {
        self.input.len() < CAPACITY
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Queues a packet for the host, super-segments cut.
    pub(super) fn receive(&mut self, packet: &Packet) {
        self.input.extend(packet.segments().map(|segment| segment.to_bytes()));
    }

    /// The next packet from the host.
    pub(super) fn transmitted(&mut self) -> Option<Bytes> {
        self.output.pop_front()
    }
}

impl Device for Queues {
    type RxToken<'a> = Received;
    type TxToken<'a> = Transmit<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Transmit<'_>)> {
        let packet = self.input.pop_front()?;
        Some((Received(packet), Transmit(&mut self.output)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Transmit<'_>> {
        (self.output.len() < CAPACITY).then_some(Transmit(&mut self.output))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

pub(super) struct Received(Bytes);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

pub(super) struct Transmit<'a>(&'a mut VecDeque<Bytes>);

impl TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push_back(packet.into());
        result
    }
}
