use std::fmt;

use crate::packet::{Packet, Transport};
use crate::tcp::{TcpFlags, TcpHeader};
use crate::tcp_options::{TcpOptions, Timestamps};

/// One line in the manner of tcpdump:
/// `10.0.0.1:5000 > 192.0.2.7:80: tcp S seq 1 win 65535 mss 1460 len 0`.
impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.flow() {
            Some(flow) => write!(f, "{} > {}: ", flow.source(), flow.destination())?,
            None => write!(f, "{} > {}: ", self.ip().source(), self.ip().destination())?,
        }
        match self.transport() {
            Transport::Tcp(tcp) => write_tcp(f, &tcp)?,
            Transport::Udp(_) => f.write_str("udp")?,
            Transport::Icmp(icmp) => write!(f, "icmp {}/{}", icmp.kind(), icmp.code())?,
            Transport::Icmpv6(icmp) => write!(f, "icmp6 {}/{}", icmp.kind(), icmp.code())?,
            Transport::Fragment(part) => {
                let more = if part.more { "+" } else { "" };
                write!(f, "fragment {}@{}{more}", part.identification, part.offset)?;
            }
            Transport::Other => write!(f, "{}", self.ip().protocol())?,
        }
        write!(f, " len {}", self.payload_len())?;
        self.segment_size().map_or(Ok(()), |size| write!(f, " by {size}"))
    }
}

fn write_tcp(f: &mut fmt::Formatter<'_>, tcp: &TcpHeader<'_>) -> fmt::Result {
    write!(f, "tcp {} seq {}", tcp.flags(), tcp.seq().to_u32())?;
    if tcp.flags().contains(TcpFlags::ACK) {
        write!(f, " ack {}", tcp.ack().to_u32())?;
    }
    write!(f, " win {}", tcp.window())?;
    write_options(f, &tcp.options())
}

fn write_options(f: &mut fmt::Formatter<'_>, options: &TcpOptions) -> fmt::Result {
    if let Some(mss) = options.mss {
        write!(f, " mss {mss}")?;
    }
    if let Some(shift) = options.window_scale {
        write!(f, " wscale {shift}")?;
    }
    if options.sack_permitted {
        f.write_str(" sackOK")?;
    }
    if let Some(Timestamps { value, echo }) = options.timestamps {
        write!(f, " ts {value}/{echo}")?;
    }
    for (start, end) in options.sack.iter() {
        write!(f, " sack {}:{}", start.to_u32(), end.to_u32())?;
    }
    Ok(())
}
