//! Linux: links, addresses, routes, rules and the owners of sockets by netlink.

mod host;
mod netlink;
mod owners;
mod plan;

pub(crate) use self::host::HostSetup;
pub(crate) use self::netlink::Netlink;
pub(crate) use self::owners::SockDiag;
pub(crate) use self::plan::{Wanted, Way};
