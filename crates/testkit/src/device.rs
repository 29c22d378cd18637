use std::collections::VecDeque;

use bytes::Bytes;
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

/// The queues between smoltcp and the world.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) received: VecDeque<Bytes>,
    pub(crate) sent: VecDeque<Bytes>,
    mtu: usize,
}

impl Device {
    pub(crate) fn new(mtu: usize) -> Self {
        Self { received: VecDeque::new(), sent: VecDeque::new(), mtu }
    }
}

pub(crate) struct RxToken(Bytes);

pub(crate) struct TxToken<'a>(&'a mut VecDeque<Bytes>);

impl phy::Device for Device {
    type RxToken<'a> = RxToken;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: Instant) -> Option<(RxToken, TxToken<'_>)> {
        let packet = self.received.pop_front()?;
        Some((RxToken(packet), TxToken(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        Some(TxToken(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

impl phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let result = write(&mut packet);
        self.0.push_back(packet.into());
        result
    }
}
