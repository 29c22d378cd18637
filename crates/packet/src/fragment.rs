use crate::ip::Version;
use crate::ipv4::Ipv4Header;
use crate::ipv6;

/// The largest payload that the fragments of one packet can make.
const MAX_REASSEMBLED: usize = 65_535;

/// Which part of a packet a fragment is (RFC 791 §3.2, RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentInfo {
    /// Equal in all fragments of one packet.
    pub identification: u32,
    /// Where the fragment's payload begins in the packet's, in octets.
    pub offset: u16,
    /// Whether more fragments follow this one.
    pub more: bool,
}

impl FragmentInfo {
    /// Whether this is the fragment that holds the transport header.
    pub fn is_first(self) -> bool {
        self.offset == 0
    }

    /// Whether it is a part at all, not the whole.
    pub(crate) fn is_fragment(self) -> bool {
        self.offset != 0 || self.more
    }

    /// Whether a payload of this length ends within the largest packet.
    pub(crate) fn holds(self, payload_len: usize) -> bool {
        usize::from(self.offset) + payload_len <= MAX_REASSEMBLED
    }
}

/// What the head of a packet that is known to be a fragment says of it.
pub(crate) fn read(head: &[u8], version: Version) -> FragmentInfo {
    match version {
        Version::V4 => Ipv4Header(head).fragment(),
        Version::V6 => ipv6::fragment(head),
    }
}
