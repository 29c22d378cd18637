//! The test suite that every transport must pass (feature `conformance`).
//!
//! ```text
//!   Fixture ─┬─ transport() ──▶ the transport under test
//!            ├─ target(role) ─▶ where a far side plays that role (echo, source, refuse, …)
//!            └─ witnessed_end() how a flow ended, as its target saw it
//!   run(&fixture) ──▶ Report: one line for each rule
//! ```
//!
//! A transport that reaches real sockets uses [`Loopback`], whose servers play all roles:
//!
//! ```no_run
//! # use std::sync::Arc;
//! use pseudotcp_masque::{Transport, conformance};
//!
//! # async fn test(transport: Arc<dyn Transport>) -> std::io::Result<()> {
//! let fixture = conformance::Loopback::start(transport).await?;
//! conformance::run(&fixture).await.assert_passed();
//! # Ok(())
//! # }
//! ```
//!
//! The suite runs in real time and in tokio's paused time alike. It panics never: a broken rule is a
//! line of the report.

mod bytes;
mod datagrams;
mod loopback;
mod opens;
mod report;

use std::sync::Arc;
use std::time::Duration;

use ::bytes::Bytes;
use async_trait::async_trait;

use crate::{ByteTunnel, DatagramTunnel, OpenRequest, Source, Target, Transport};

pub use loopback::Loopback;
pub use report::Report;

/// What a far side does with the flows that reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// TCP: sends back what it receives, and ends after our end.
    Echo,
    /// TCP: reads to our end, then sends [`reply`] and ends.
    ReplyAtEnd,
    /// TCP: sends [`reply`] and ends at once, then reads to our end.
    EndFirst,
    /// TCP: sends for ever and reads nothing.
    Source,
    /// TCP: neither reads nor sends.
    Stall,
    /// TCP: resets after the first byte it receives.
    Reset,
    /// TCP: reads to our end, then ends; the fixture reports how
    /// ([`witnessed_end`](Fixture::witnessed_end)).
    Witness,
    /// TCP: refuses every connection.
    Refuse,
    /// TCP: never answers an open.
    Silent,
    /// UDP: sends back every datagram.
    UdpEcho,
    /// UDP: nobody has the port.
    UdpRefuse,
}

/// How a flow ended, as a [`Role::Witness`] saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowEnd {
    /// The bytes that arrived before the end.
    pub received: u64,
    /// Whether it was an end of stream; else a reset.
    pub clean: bool,
}

/// A transport and the far sides that it can reach.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The transport under test.
    fn transport(&self) -> Arc<dyn Transport>;

    /// Where a far side plays `role`. `None` where the fixture has none: the rules that need it are
    /// reported as skipped.
    fn target(&self, role: Role) -> Option<Target>;

    /// Waits for the end of the next flow to [`Role::Witness`].
    async fn witnessed_end(&self) -> FlowEnd;

    /// How many bytes all flows to [`Role::Source`] have taken from it so far.
    fn source_sent(&self) -> u64;

    /// The most bytes of one flow and direction that may lie between its two ends: 64 MiB unless
    /// told. It covers the buffers of all kernels on the way.
    fn buffer_limit(&self) -> u64 {
        64 << 20
    }
}

/// What [`Role::ReplyAtEnd`] and [`Role::EndFirst`] send: 100,000 bytes.
pub fn reply() -> Bytes {
    pattern(100_000)
}

/// Runs every rule, one after the other.
pub async fn run(fixture: &dyn Fixture) -> Report<'_> {
    let mut report = Report::new(fixture);
    opens::run(&mut report).await;
    bytes::run(&mut report).await;
    datagrams::run(&mut report).await;
    report
}

/// The result of one rule.
type Outcome = Result<(), Source>;

/// Time in which nothing happens before the suite takes a wait for endless.
const QUIET: Duration = Duration::from_millis(300);

fn request(fixture: &dyn Fixture, role: Role) -> Result<OpenRequest, Source> {
    Ok(OpenRequest::new(fixture.target(role).ok_or("no such role")?))
}

async fn open_tcp(fixture: &dyn Fixture, role: Role) -> Result<ByteTunnel, Source> {
    Ok(fixture.transport().open_tcp(request(fixture, role)?).await?)
}

async fn open_udp(fixture: &dyn Fixture, role: Role) -> Result<DatagramTunnel, Source> {
    Ok(fixture.transport().open_udp(request(fixture, role)?).await?)
}

/// Bytes whose order shows: the first 65,536 positions all differ from their neighbours' runs.
fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at ^ (at >> 8)).to_le_bytes()[0]).collect()
}

fn ensure(holds: bool, rule: &str) -> Outcome {
    if holds { Ok(()) } else { Err(rule.into()) }
}
