//! The options of UDP.
#![expect(clippy::doc_markdown, reason = "doc comments here are the help, which is no Markdown")]

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use pseudotcp_pipeline::stack::{self, UdpRefusalStyle};
use pseudotcp_udp::Config;

/// The options of UDP.
#[derive(Debug, Args)]
pub(crate) struct UdpArgs {
    /// How long a UDP flow without traffic lives; with a port, one to that port. May be given several
    /// times [default: 300, and 53=10]
    #[arg(id = "udp-idle", long = "udp-idle", value_name = "[PORT=]SECONDS")]
    idle: Vec<Idle>,

    /// Whose datagrams keep a UDP flow alive.
    #[arg(
        id = "udp-refresh",
        long = "udp-refresh",
        value_name = "WHOSE",
        value_enum,
        default_value_t
    )]
    refresh: Refresh,

    /// What becomes of a UDP reply that is larger than the MTU.
    #[arg(
        id = "udp-too-big",
        long = "udp-too-big",
        value_name = "HOW",
        value_enum,
        default_value_t
    )]
    too_big: TooBig,

    /// How apps are told that a UDP target cannot be reached.
    #[arg(id = "udp-errors", long = "udp-errors", value_name = "HOW", value_enum, default_value_t)]
    errors: Errors,
}

/// Whose datagrams keep a flow alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Refresh {
    /// The app's and the target's.
    #[default]
    Both,
    /// The app's.
    App,
}

/// What becomes of a large reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum TooBig {
    /// It comes in fragments.
    #[default]
    Fragment,
    /// It is dropped, and counted.
    Drop,
}

/// How unreachable targets are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Errors {
    /// By an ICMP error that connected sockets hear.
    #[default]
    Audible,
    /// By the ICMP error that names the cause; Linux tells it to sockets with IP_RECVERR only.
    Strict,
}

/// How long flows live, all or those to one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Idle {
    port: Option<u16>,
    timeout: Duration,
}

impl FromStr for Idle {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (port, seconds) = match text.split_once('=') {
            Some((port, seconds)) => {
                (Some(port.parse().map_err(|_| "the port is no number up to 65535")?), seconds)
            }
            None => (None, text),
        };
        let seconds: NonZeroU32 =
            seconds.parse().map_err(|_| "must read SECONDS or PORT=SECONDS")?;
        Ok(Self { port, timeout: Duration::from_secs(u64::from(seconds.get())) })
    }
}

impl UdpArgs {
    /// Settings for the stack before a device with this MTU.
    pub(super) fn apply(&self, stack: stack::Config, mtu: u32) -> stack::Config {
        let config = Config::default()
            .mtu(mtu)
            .fragment_replies(self.too_big == TooBig::Fragment)
            .reply_refreshes(self.refresh == Refresh::Both);
        let config = self.idle.iter().fold(config, |config, idle| match idle.port {
            Some(port) => config.port_idle_timeout(port, idle.timeout),
            None => config.idle_timeout(idle.timeout),
        });
        stack.udp(config).udp_refusal(match self.errors {
            Errors::Audible => UdpRefusalStyle::Audible,
            Errors::Strict => UdpRefusalStyle::Strict,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_times_are_of_all_flows_or_of_a_port() {
        let idle = |port, seconds| Ok(Idle { port, timeout: Duration::from_secs(seconds) });
        assert_eq!("120".parse::<Idle>(), idle(None, 120));
        assert_eq!("123=5".parse::<Idle>(), idle(Some(123), 5));
        for wrong in ["", "5s", "=5", "65536=5", "53=", "-1", "0"] {
            assert!(wrong.parse::<Idle>().is_err(), "{wrong:?}");
        }
    }
}
