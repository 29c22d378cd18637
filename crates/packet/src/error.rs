use thiserror::Error;

/// Why bytes are not a packet. Each cause is one counter in somebody's statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The first four bits are neither 4 nor 6, or there are no bits.
    #[error("neither an IPv4 nor an IPv6 packet")]
    Version,
    /// The IPv4 header or total length, or the IPv6 payload length, cannot be right (RFC 791 §3.1,
    /// RFC 8200 §3).
    #[error("an IP length field does not fit the packet")]
    IpLength,
    /// The IPv4 header checksum is wrong (RFC 1122 §3.2.1.2).
    #[error("the IPv4 header checksum is wrong")]
    IpChecksum,
    /// The IPv6 extension headers run past the end, or are more than anybody sends.
    #[error("the IPv6 extension headers are too long or too many")]
    ExtensionHeaders,
    /// A fragment that would end behind the largest possible packet.
    #[error("the fragment lies outside of any packet")]
    FragmentOffset,
    /// The packet ends within its transport header.
    #[error("the transport header is cut short")]
    TransportLength,
    /// The TCP data offset is less than five words or more than the packet (RFC 9293 §3.1).
    #[error("the TCP data offset does not fit the packet")]
    TcpDataOffset,
    /// A TCP option of length zero or one, or past the end of the header (RFC 9293 §3.1, MUST-7).
    #[error("a TCP option has an impossible length")]
    TcpOptionLength,
    /// The UDP length is less than eight or more than the packet (RFC 768).
    #[error("the UDP length does not fit the packet")]
    UdpLength,
    /// The checksum of TCP, UDP, ICMP or `ICMPv6` is wrong, or missing where it must not be.
    #[error("the transport checksum is wrong")]
    TransportChecksum,
    /// A segment size was given for what is neither a TCP segment nor a UDP datagram.
    #[error("only TCP and UDP can be cut into segments")]
    NotSegmentable,
}
