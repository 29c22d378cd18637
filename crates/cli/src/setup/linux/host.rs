use std::fmt;
use std::io;
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use tracing::{debug, warn};

use super::plan::{Step, Wanted, steps};
use super::{Netlink, Way};

/// What the program has set on this machine, so that it can be taken back.
pub(crate) struct HostSetup {
    netlink: Netlink,
    done: Vec<Step>,
}

impl HostSetup {
    /// Nothing set yet.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { netlink: Netlink::connect()?, done: Vec::new() })
    }

    /// The ways that packets to these addresses take now; an address without one is left out.
    pub(crate) async fn ways(&self, addresses: &[IpAddr]) -> Vec<Way> {
        let mut ways = Vec::new();
        for address in addresses {
            match self.netlink.way(*address).await {
                Ok(way) => ways.push(way),
                Err(error) => debug!(%address, %error, "no way to the proxy's address"),
            }
        }
        ways
    }

    /// The index of the interface called `name`.
    pub(crate) async fn link(&self, name: &str) -> Result<u32> {
        self.netlink.link(name).await.with_context(|| format!("finding the interface {name}"))
    }

    /// Sets what is wanted. What was set before an error still has to be taken back.
    pub(crate) async fn apply(&mut self, wanted: &Wanted) -> Result<()> {
        for step in steps(wanted) {
            match self.netlink.set(&step).await {
                Ok(()) => self.done.push(step),
                // Left by a run that was killed, or somebody else's: it serves, and it stays.
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && !enters(&step, wanted) =>
                {
                    debug!(%step, "is there already");
                }
                Err(error) => return Err(error).with_context(|| format!("setting {step}")),
            }
        }
        Ok(())
    }

    /// Takes back what was set, the last thing first.
    pub(crate) async fn take_back(mut self) {
        while let Some(step) = self.done.pop() {
            if let Err(error) = self.netlink.unset(&step).await {
                warn!(%step, %error, "cannot take back");
            }
        }
    }
}

/// Whether a step leads into the TUN: such a route by another interface must not be mistaken for it.
fn enters(step: &Step, wanted: &Wanted) -> bool {
    matches!(step, Step::Route(route) if route.link == wanted.tun)
}

/// As a person would name it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(route) => write!(f, "the route to {}", route.network),
            Self::Rule(rule) if rule.is_ipv6 => write!(f, "the IPv6 rule {}", rule.priority),
            Self::Rule(rule) => write!(f, "the IPv4 rule {}", rule.priority),
        }
    }
}
