//! In-memory MASQUE transport: echo, source, discard, scripted outcomes, latency and faults.
//!
//! ```text
//!   open_tcp(target) ──▶ the target's Script ──┬─▶ OpenError, after the scripted latency
//!                                              └─▶ a tunnel to a far side in memory
//! ```
//!
//! Everything happens inside the polls of the tunnel itself: no task, no socket, no copy. So tests
//! run in tokio's paused time, and benches measure the caller alone.
//!
//! ```
//! use futures::{SinkExt, StreamExt};
//! use pseudotcp_masque::{OpenError, OpenRequest, Target, Transport};
//! use pseudotcp_masque_mock::{Mock, Script};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let closed = Target::host("closed.example", 80);
//! let mock = Mock::new(Script::echo()).with(closed.clone(), Script::fail(|| OpenError::Refused(None)));
//!
//! assert!(matches!(mock.open_tcp(OpenRequest::new(closed)).await, Err(OpenError::Refused(_))));
//! let mut tunnel = mock.open_tcp(OpenRequest::new(Target::host("open.example", 80))).await?;
//! tunnel.send("hello".into()).await?;
//! assert_eq!(tunnel.next().await.unwrap()?, "hello");
//!
//! drop(tunnel);
//! assert_eq!((mock.stats().opened, mock.stats().failed, mock.stats().dropped), (1, 1, 1));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod bytes;
mod datagrams;
mod ledger;
mod script;

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pseudotcp_masque::{ByteTunnel, DatagramTunnel, OpenError, OpenRequest, Target, Transport};
use tokio::time::{sleep, timeout_at};

pub use ledger::{Ending, FlowEnd, Stats};
pub use script::Script;

use ledger::{Ledger, PendingOpen};
use script::Opening;

/// A transport whose far sides live in memory and do as their scripts say.
///
/// A clone is another handle to the same transport.
#[derive(Clone, Debug)]
pub struct Mock {
    otherwise: Arc<Script>,
    scripts: HashMap<Target, Arc<Script>>,
    ledger: Arc<Ledger>,
}

impl Mock {
    /// A transport where every target follows `otherwise`, unless it has a script of its own.
    pub fn new(otherwise: Script) -> Self {
        Self {
            otherwise: Arc::new(otherwise),
            scripts: HashMap::new(),
            ledger: Arc::new(Ledger::default()),
        }
    }

    /// Gives one target a script of its own.
    #[must_use]
    pub fn with(mut self, target: impl Into<Target>, script: Script) -> Self {
        self.scripts.insert(target.into(), Arc::new(script));
        self
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.ledger.stats()
    }

    /// Takes the record of the TCP flows that ended since the last call, oldest first; the latest
    /// 1,024 are kept.
    pub fn take_ends(&self) -> Vec<FlowEnd> {
        self.ledger.take_ends()
    }

    /// Waits as the target's script says; the script, where the open succeeds.
    async fn open(&self, request: &OpenRequest) -> Result<Arc<Script>, OpenError> {
        let open = PendingOpen::new(Arc::clone(&self.ledger));
        let script = self.scripts.get(&request.target).unwrap_or(&self.otherwise);
        let outcome = match request.deadline {
            // Without a wait no timer is needed, so this runs outside of tokio too.
            _ if script.opens_at_once() => answer(script).await,
            None => answer(script).await,
            Some(deadline) => timeout_at(deadline.into(), answer(script))
                .await
                .unwrap_or(Err(OpenError::TimedOut(None))),
        };
        open.finish(outcome.is_ok());
        outcome.map(|()| Arc::clone(script))
    }
}

async fn answer(script: &Script) -> Result<(), OpenError> {
    if script.latency > Duration::ZERO {
        sleep(script.latency).await;
    }
    match &script.opening {
        Opening::Accept => Ok(()),
        Opening::Fail(cause) => Err(cause()),
        Opening::Silence => pending().await,
    }
}

#[async_trait]
impl Transport for Mock {
    async fn open_tcp(&self, request: OpenRequest) -> Result<ByteTunnel, OpenError> {
        let script = self.open(&request).await?;
        let ledger = Arc::clone(&self.ledger);
        Ok(Box::new(bytes::MockBytes::new(request.target, script, ledger)))
    }

    async fn open_udp(&self, request: OpenRequest) -> Result<DatagramTunnel, OpenError> {
        let script = self.open(&request).await?;
        Ok(Box::new(datagrams::MockDatagrams::new(script, Arc::clone(&self.ledger))))
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
