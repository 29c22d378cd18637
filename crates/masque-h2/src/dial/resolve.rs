//! Where the proxy is: known addresses first, the name's own when those fail.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::Instant;

use crate::Config;

/// How often the name is looked up at the most while addresses are known that do not answer.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(5);

/// The addresses to try first, without asking anybody; empty when there are none.
pub(super) fn known(config: &Config) -> Vec<SocketAddr> {
    let literal = config.host.parse::<IpAddr>().ok();
    let known = config.addresses.iter().copied();
    let known: Vec<IpAddr> =
        if config.addresses.is_empty() { literal.into_iter().collect() } else { known.collect() };
    known.into_iter().map(|ip| SocketAddr::new(ip, config.port)).collect()
}

/// The proxy's addresses.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// When the name was looked up beside known addresses.
    looked_up: Option<Instant>,
    /// What the name meant last.
    found: Vec<SocketAddr>,
}

impl Resolver {
    /// Whether the name shall be asked for other addresses than the known ones, none of which
    /// answers. Not each time: it may be slow where the network is bad.
    pub(super) fn may_look_up(&self, config: &Config) -> bool {
        let mut memory = self.memory();
        let due = memory.looked_up.is_none_or(|then| then.elapsed() >= LOOK_UP_AGAIN);
        let may = due && config.host.parse::<IpAddr>().is_err();
        if may {
            memory.looked_up = Some(Instant::now());
        }
        may
    }

    /// Asks the system's resolver; where that fails, what it said last still counts.
    pub(super) async fn look_up(&self, config: &Config) -> io::Result<Vec<SocketAddr>> {
        match lookup_host((config.host.as_str(), config.port)).await {
            Ok(found) => {
                let found: Vec<_> = found.collect();
                self.memory().found.clone_from(&found);
                Ok(found)
            }
            Err(error) => Some(self.memory().found.clone()).filter(|f| !f.is_empty()).ok_or(error),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
