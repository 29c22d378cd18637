use pseudotcp_packet::SeqNumber;

use super::Flow;
use crate::context::Context;

/// RFC 1191 §3: less would be an attack by tiny segments; Linux stops here too.
const MIN_MTU: u32 = 552;
/// RFC 8201 §4: an MTU below this one is no reason to send smaller packets.
const MIN_MTU_V6: u32 = 1_280;
/// RFC 1191 §7.1: what to try where a router does not say what fits.
const PLATEAUS: [u32; 7] = [32_000, 17_914, 8_166, 4_352, 1_492, 1_006, MIN_MTU];

/// The size of segments, when the way to the app takes less than the device.
impl Flow {
    /// A packet of ours that began with `seq` was larger than the way to the app can carry.
    pub(crate) fn on_too_big(&mut self, cx: &mut Context<'_>, seq: SeqNumber, mtu: u32) {
        // RFC 5927 §4.1: only a number that is in flight was really quoted.
        let believed = self.state.sends() && self.sender.is_in_flight(seq);
        let Some(mss) = self.mss_for(mtu).filter(|&mss| believed && mss < self.sender.mss()) else {
            cx.stats.dropped += 1;
            return;
        };
        cx.stats.path_mtu_reductions += 1;
        self.sender.shrink_segments(u16::try_from(mss).unwrap_or(u16::MAX));
        self.ledger.wants_transmit = true;
    }

    /// RFC 9293 §3.7.5: the payload octets of a packet of this size, `None` for an absurd one.
    fn mss_for(&self, mtu: u32) -> Option<u32> {
        let headers = self.headers();
        let mtu = match mtu {
            _ if self.key.is_ipv6() => Some(mtu).filter(|&mtu| mtu >= MIN_MTU_V6)?,
            0 => PLATEAUS.into_iter().find(|&plateau| plateau < self.sender.mss() + headers)?,
            mtu => mtu.max(MIN_MTU),
        };
        Some(mtu.saturating_sub(headers))
    }

    /// Octets before the payload in a segment that carries nothing extraordinary.
    pub(super) fn headers(&self) -> u32 {
        let ip = if self.key.is_ipv6() { 40 } else { 20 };
        ip + 20 + if self.timestamps.is_some() { 12 } else { 0 }
    }
}
