//! The stack alone: what interposition costs where nothing is encrypted and nothing is proxied.

use std::sync::Arc;

use anyhow::Result;
use clap::{Args, ValueEnum};
use pseudotcp_direct::{Config, Direct};
use pseudotcp_masque::Transport;
use pseudotcp_masque_mock::{Mock, Script};
use pseudotcp_pipeline::{Stack, splice, stack};
use pseudotcp_tun::{LinuxTun, TunConfig};

use crate::lab::OUTSIDE;

/// What the flows of the stack meet.
#[derive(Args)]
pub(crate) struct Options {
    /// The transport behind the stack.
    transport: Way,
    /// The name of the device.
    device: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Way {
    /// Plain sockets to the real target.
    Direct,
    /// A target in this process that takes everything.
    Discard,
    /// A target in this process that sends for ever.
    Source,
}

/// Runs until it is told to stop.
pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let address = "10.99.99.10/24".parse()?;
        let tun = LinuxTun::create(TunConfig::default().name(&options.device).address(address))?;
        let config = stack::Config::for_device(tun.mtu(), tun.has_tcp_offload());
        let stack = Stack::new(config, options.transport.transport())?;
        println!("ready");
        Ok(splice(tun, stack).await?)
    })
}

impl Way {
    fn transport(self) -> Arc<dyn Transport> {
        match self {
            Self::Direct => Arc::new(Direct::new(Config::default().with_device(OUTSIDE))),
            Self::Discard => Arc::new(Mock::new(Script::discard())),
            Self::Source => Arc::new(Mock::new(Script::source(u64::MAX))),
        }
    }
}
