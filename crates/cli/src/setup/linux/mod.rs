//! Linux: links, addresses, routes and rules by netlink.

mod host;
mod netlink;
mod plan;

pub(crate) use self::host::HostSetup;
pub(crate) use self::netlink::Netlink;
pub(crate) use self::plan::{Wanted, Way};
