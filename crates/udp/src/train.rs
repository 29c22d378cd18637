use std::num::NonZeroU16;

use bytes::Bytes;
use pseudotcp_packet::{Body, FlowKey, Packet, build};

/// The most bytes of a train: what one IPv4 packet holds.
const MAX_BYTES: usize = 65_507;

/// Replies of one flow and one size that leave in one packet, for the device to take apart.
///
/// All but the last are equally long, so that they can be told apart again; a shorter one ends the
/// train.
#[derive(Debug)]
pub(crate) struct Train {
    flow: FlowKey,
    size: NonZeroU16,
    payloads: Vec<Bytes>,
    bytes: usize,
}

impl Train {
    /// A train of one datagram; none where it is empty, as nothing tells empty ones apart.
    pub(crate) fn new(flow: FlowKey, payload: &Bytes) -> Option<Self> {
        let size = NonZeroU16::new(u16::try_from(payload.len()).ok()?)?;
        Some(Self { flow, size, payloads: vec![payload.clone()], bytes: payload.len() })
    }

    /// Appends a datagram; false where it does not fit.
    pub(crate) fn push(&mut self, flow: FlowKey, payload: &Bytes) -> bool {
        let size = usize::from(self.size.get());
        let is_open = self.bytes == self.payloads.len() * size;
        let fits = is_open
            && flow == self.flow
            && (1..=size).contains(&payload.len())
            && self.payloads.len() < Body::MAX_SLICES
            && self.bytes + payload.len() <= MAX_BYTES;
        if fits {
            self.bytes += payload.len();
            self.payloads.push(payload.clone());
        }
        fits
    }

    /// The packet of them all.
    pub(crate) fn into_packet(self) -> Option<Packet> {
        let (source, destination) = (self.flow.source(), self.flow.destination());
        let payload = self.payloads.into_iter().collect();
        build::super_datagram(source, destination, payload, self.size)
    }
}
