//! The one place that turns causes into what the app will really hear.
//!
//! What an app hears of each answer was measured on Linux; the table is in ARCHITECTURE.md. Unconnected
//! UDP sockets hear nothing at all, connected ones only some codes, which is why UDP and TCP differ.

use std::time::Duration;

use pseudotcp_masque::{OpenError, TunnelError};
use pseudotcp_packet::Unreachable;
use pseudotcp_tcp::Refusal as TcpRefusal;
use pseudotcp_udp::Refusal as UdpRefusal;

/// How long a held SYN keeps still after a transient failure, unless the proxy named a time.
const BACK_OFF: Duration = Duration::from_secs(5);
/// How long a held SYN keeps still while the proxy is away.
const PROXY_GONE_BACK_OFF: Duration = Duration::from_millis(200);

/// How a refused TCP open is told to the app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TcpRefusalStyle {
    /// By the ICMP error that names the cause, where there is one.
    #[default]
    Icmp,
    /// Always by RST: for systems where ICMP is only a soft error to `connect()`.
    Reset,
}

/// How a UDP target that cannot be reached is told to the app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UdpRefusalStyle {
    /// By an ICMP error that connected sockets hear, even if it names another cause.
    #[default]
    Audible,
    /// By the ICMP error that names the cause. On Linux only sockets with `IP_RECVERR` hear it.
    Strict,
}

/// The answer to a held SYN whose open failed.
pub(super) fn tcp(cause: &OpenError, style: TcpRefusalStyle) -> TcpRefusal {
    let refusal = match cause {
        OpenError::Unreachable(_) | OpenError::Unresolved(_) => {
            TcpRefusal::Unreachable(Unreachable::Host)
        }
        OpenError::NoIpv6(_) => TcpRefusal::Unreachable(Unreachable::Network),
        OpenError::Denied(_) | OpenError::Unauthenticated(_) => {
            TcpRefusal::Unreachable(Unreachable::Prohibited)
        }
        OpenError::TimedOut(_) => TcpRefusal::Later { after: BACK_OFF },
        OpenError::Overloaded { retry_after, .. } => {
            TcpRefusal::Later { after: retry_after.unwrap_or(BACK_OFF) }
        }
        OpenError::ProxyGone(_) => TcpRefusal::Later { after: PROXY_GONE_BACK_OFF },
        // Refused, failed for a reason that the proxy keeps to itself, or a broken protocol.
        _ => TcpRefusal::Reset,
    };
    styled(refusal, style)
}

/// The answer to a SYN that was held until its open deadline: silence could not end well.
pub(super) fn tcp_expired(proxy_gone: bool, style: TcpRefusalStyle) -> TcpRefusal {
    let refusal =
        if proxy_gone { TcpRefusal::Reset } else { TcpRefusal::Unreachable(Unreachable::Host) };
    styled(refusal, style)
}

fn styled(refusal: TcpRefusal, style: TcpRefusalStyle) -> TcpRefusal {
    match (refusal, style) {
        (TcpRefusal::Unreachable(_), TcpRefusalStyle::Reset) => TcpRefusal::Reset,
        (refusal, _) => refusal,
    }
}

/// The answer to datagrams whose open failed.
pub(super) fn udp(cause: &OpenError, ipv6: bool, style: UdpRefusalStyle) -> UdpRefusal {
    match cause {
        OpenError::Refused(_) | OpenError::ConnectFailed(_) => {
            UdpRefusal::Unreachable(Unreachable::Port)
        }
        OpenError::NoIpv6(_) => UdpRefusal::Unreachable(match style {
            UdpRefusalStyle::Audible => Unreachable::Port,
            UdpRefusalStyle::Strict => Unreachable::Network,
        }),
        OpenError::Unreachable(_) | OpenError::Unresolved(_) => {
            UdpRefusal::Unreachable(match style {
                UdpRefusalStyle::Audible => audible_host_unreachable(ipv6),
                UdpRefusalStyle::Strict => Unreachable::Host,
            })
        }
        OpenError::Denied(_) | OpenError::Unauthenticated(_) => {
            UdpRefusal::Unreachable(Unreachable::Prohibited)
        }
        _ => UdpRefusal::Drop,
    }
}

/// What is found out about a host that somebody pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pinged {
    /// It answers.
    Reached,
    /// There is no way to it.
    Unreachable(Unreachable),
    /// Nobody knows.
    Silent,
}

/// What a connection that could not be opened says about the target's host.
pub(super) fn ping(cause: &OpenError) -> Pinged {
    match cause {
        // The host itself has said no.
        OpenError::Refused(_) => Pinged::Reached,
        OpenError::Unreachable(_) | OpenError::Unresolved(_) => {
            Pinged::Unreachable(Unreachable::Host)
        }
        OpenError::NoIpv6(_) => Pinged::Unreachable(Unreachable::Network),
        OpenError::Denied(_) | OpenError::Unauthenticated(_) => {
            Pinged::Unreachable(Unreachable::Prohibited)
        }
        _ => Pinged::Silent,
    }
}

/// What a datagram flow's end says about its last datagrams; `None` forgets them.
pub(super) fn udp_end(cause: &TunnelError) -> Option<Unreachable> {
    matches!(cause, TunnelError::Unreachable).then_some(Unreachable::Port)
}

/// Connected UDP sockets never hear "host unreachable"; these they do.
fn audible_host_unreachable(ipv6: bool) -> Unreachable {
    if ipv6 { Unreachable::Port } else { Unreachable::HostProhibited }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every cause, and the answers: TCP, UDP over IPv4, UDP over IPv6.
    fn table() -> Vec<(OpenError, TcpRefusal, UdpRefusal, UdpRefusal)> {
        use TcpRefusal::{Later, Reset, Unreachable as Tcp};
        use UdpRefusal::{Drop, Unreachable as Udp};
        use Unreachable::{Host, HostProhibited, Network, Port, Prohibited};
        let later = |after| Later { after };
        let named = Duration::from_secs(9);
        vec![
            (OpenError::Refused(None), Reset, Udp(Port), Udp(Port)),
            (OpenError::ConnectFailed(None), Reset, Udp(Port), Udp(Port)),
            (OpenError::Unreachable(None), Tcp(Host), Udp(HostProhibited), Udp(Port)),
            (OpenError::Unresolved(None), Tcp(Host), Udp(HostProhibited), Udp(Port)),
            (OpenError::NoIpv6(None), Tcp(Network), Udp(Port), Udp(Port)),
            (OpenError::Denied(None), Tcp(Prohibited), Udp(Prohibited), Udp(Prohibited)),
            (OpenError::Unauthenticated(None), Tcp(Prohibited), Udp(Prohibited), Udp(Prohibited)),
            (OpenError::TimedOut(None), later(BACK_OFF), Drop, Drop),
            (OpenError::overloaded(), later(BACK_OFF), Drop, Drop),
            (
                OpenError::Overloaded { retry_after: Some(named), said: None },
                later(named),
                Drop,
                Drop,
            ),
            (OpenError::ProxyGone(None), later(PROXY_GONE_BACK_OFF), Drop, Drop),
            (OpenError::Protocol("odd".into()), Reset, Drop, Drop),
        ]
    }

    #[test]
    fn every_cause_has_its_answer() {
        for (cause, to_tcp, to_udp4, to_udp6) in table() {
            assert_eq!(tcp(&cause, TcpRefusalStyle::Icmp), to_tcp, "{cause}");
            assert_eq!(udp(&cause, false, UdpRefusalStyle::Audible), to_udp4, "{cause}");
            assert_eq!(udp(&cause, true, UdpRefusalStyle::Audible), to_udp6, "{cause}");
        }
    }

    #[test]
    fn the_strict_style_names_what_tcp_is_told() {
        for (cause, to_tcp, to_udp4, _) in table() {
            let strict = match to_tcp {
                TcpRefusal::Unreachable(kind) => UdpRefusal::Unreachable(kind),
                _ => to_udp4,
            };
            for ipv6 in [false, true] {
                assert_eq!(udp(&cause, ipv6, UdpRefusalStyle::Strict), strict, "{cause}");
            }
        }
    }

    #[test]
    fn only_what_answers_is_pinged_with_success() {
        for (cause, ..) in table() {
            let expected = match cause {
                OpenError::Refused(_) => Pinged::Reached,
                OpenError::Unreachable(_) | OpenError::Unresolved(_) => {
                    Pinged::Unreachable(Unreachable::Host)
                }
                OpenError::NoIpv6(_) => Pinged::Unreachable(Unreachable::Network),
                OpenError::Denied(_) | OpenError::Unauthenticated(_) => {
                    Pinged::Unreachable(Unreachable::Prohibited)
                }
                _ => Pinged::Silent,
            };
            assert_eq!(ping(&cause), expected, "{cause}");
        }
    }

    #[test]
    fn the_reset_style_knows_no_icmp() {
        for (cause, ..) in table() {
            let refusal = tcp(&cause, TcpRefusalStyle::Reset);
            assert!(!matches!(refusal, TcpRefusal::Unreachable(_)), "{cause}");
        }
        assert_eq!(tcp_expired(false, TcpRefusalStyle::Reset), TcpRefusal::Reset);
    }

    #[test]
    fn an_expired_syn_hears_of_the_host_or_of_the_lost_proxy() {
        let host = TcpRefusal::Unreachable(Unreachable::Host);
        assert_eq!(tcp_expired(false, TcpRefusalStyle::Icmp), host);
        assert_eq!(tcp_expired(true, TcpRefusalStyle::Icmp), TcpRefusal::Reset);
    }
}
