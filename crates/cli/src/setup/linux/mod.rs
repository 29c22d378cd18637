//! Linux: links, addresses, routes, rules and the owners of sockets by netlink, and who is asked for
//! names.
//!
//! What is set is written into a [journal] before the next thing is; so it can be taken back, by this
//! run or, if it is killed, by the next one or by `pseudotcp down`.

mod dns;
mod host;
mod journal;
mod netlink;
mod owners;
mod pinning;
mod plan;
mod watch;

pub(crate) use self::host::HostSetup;
pub(crate) use self::netlink::Netlink;
pub(crate) use self::owners::SockDiag;
pub(crate) use self::pinning::Pinning;
pub(crate) use self::plan::{Wanted, Way};
pub(crate) use self::watch::Watch;
