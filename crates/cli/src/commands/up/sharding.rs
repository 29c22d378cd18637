//! How many shards there shall be, and how the kernel learns which packets are whose.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use anyhow::Result;
use pseudotcp_pipeline::{Dealer, Steering};
use pseudotcp_tun::SteeringTable;
use tracing::info;

use super::args::UpArgs;
use crate::failure::usage;

/// Each has a connection to the proxy of its own, so there are no more unless they are asked for.
const MOST_BY_DEFAULT: usize = 4;

/// What is known of the shards before there are any.
pub(super) struct Sharding {
    /// How many: one at least.
    pub(super) count: u8,
    /// Which of them the packets of each flow are read by. Without it they are read by any of several.
    pub(super) steering: Option<SteeringTable>,
}

impl Sharding {
    /// As many as are wanted; by default as are of use here.
    pub(super) fn plan(args: &UpArgs) -> Result<Self> {
        let connections = args.proxy.max_connections.get();
        let wanted = args.device.shards;
        if wanted.is_some_and(|wanted| usize::from(wanted) > connections) {
            return Err(usage("--max-connections must be at least --shards: each needs one"));
        }
        if args.device.tun_fd.is_some() {
            return Ok(Self::one());
        }
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let of_use = cores.min(MOST_BY_DEFAULT).min(connections);
        let count = wanted.unwrap_or(u8::try_from(of_use)?);
        if count == 1 {
            return Ok(Self::one());
        }
        match SteeringTable::new() {
            Ok(table) => Ok(Self { count, steering: Some(table) }),
            Err(error) => {
                info!(%error, "the kernel cannot be told which thread shall read a flow");
                Ok(Self { count: wanted.unwrap_or(1), steering: None })
            }
        }
    }

    /// Deals flows out to the shards.
    pub(super) fn dealer(self) -> Arc<Dealer> {
        let steering = self.steering.map(|table| Box::new(table) as Steering);
        Dealer::new(self.count, steering)
    }

    fn one() -> Self {
        Self { count: 1, steering: None }
    }
}
