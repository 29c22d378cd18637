//! The policy of a running program, and where it comes from.

use anyhow::Result;
use pseudotcp_pipeline::{Judge, Owners, Replaced};
use tracing::{error, warn};

use super::args::UpArgs;
use super::dns::{self, KnownNames};
use crate::failure::usage;
use crate::policy::{DnsPlan, Loaded, PolicyArgs};
use crate::setup::linux::SockDiag;

/// The policy in force, and how to read it again.
pub(super) struct RuleBook {
    args: PolicyArgs,
    dns: DnsPlan,
    /// Flows can go past the proxy without coming back into the TUN.
    has_way_around: bool,
    judge: Judge,
    names: KnownNames,
}

impl RuleBook {
    /// Reads the policy for the first time.
    pub(super) fn open(args: &UpArgs) -> Result<Self> {
        // Who hands in a descriptor sees to the program's own sockets as well.
        let has_way_around = args.mark.is_some() || args.device.tun_fd.is_some();
        let dns = DnsPlan {
            is_intercepted: dns::intercepts(&args.dns),
            servers: dns::host_servers(args),
        };
        let loaded = load(&args.policy, &dns, has_way_around)?;
        let names = KnownNames::default();
        let judge = Judge::with(loaded.policy, owners(), Some(Box::new(names.clone())));
        Ok(Self { args: args.policy.clone(), dns, has_way_around, judge, names })
    }

    /// The names that rules can ask for; the DNS stage fills them in.
    pub(super) fn names(&self) -> &KnownNames {
        &self.names
    }

    /// Who judges flows.
    pub(super) fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Reads the policy again and puts it in force. With a mistake in it the old one stays.
    pub(super) fn reload(&self) -> Option<Replaced> {
        match load(&self.args, &self.dns, self.has_way_around) {
            Ok(loaded) => Some(self.judge.replace(loaded.policy)),
            Err(mistakes) => {
                error!("the policy stays as it is: {mistakes:#}");
                None
            }
        }
    }
}

/// Who knows the owners of flows, where the system tells.
fn owners() -> Option<Box<dyn Owners>> {
    match SockDiag::new() {
        Ok(owners) => Some(Box::new(owners)),
        Err(error) => {
            warn!(%error, "users and marks cannot be found out; rules that ask for them match nothing");
            None
        }
    }
}

fn load(args: &PolicyArgs, dns: &DnsPlan, has_way_around: bool) -> Result<Loaded> {
    let loaded = args.load(dns)?;
    if loaded.sends_past_the_proxy && !has_way_around {
        return Err(usage(
            "flows past the proxy (direct) need --mark, so that they do not come back into the TUN",
        ));
    }
    Ok(loaded)
}
