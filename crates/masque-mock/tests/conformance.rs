//! The mock against the suite that every transport must pass.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::task::noop_waker_ref;
use futures::{Sink, SinkExt, Stream, StreamExt};
use pseudotcp_masque::conformance::{self, Fixture, FlowEnd, Role};
use pseudotcp_masque::{
    AbortCode, ByteStream, ByteTunnel, DatagramTunnel, OpenError, OpenRequest, Target, Transport,
    TunnelError,
};
use pseudotcp_masque_mock::{Ending, Mock, Script};

struct InMemory {
    transport: Arc<dyn Transport>,
    mock: Mock,
    source_sent: AtomicU64,
    /// What the source sends between two looks at it.
    source_speed: u64,
}

impl InMemory {
    fn new(transport: impl Transport, mock: Mock) -> Self {
        let transport = Arc::new(transport);
        // The mock's source sends what is read and nothing ahead.
        Self { transport, mock, source_sent: AtomicU64::new(0), source_speed: 0 }
    }
}

const ROLES: [Role; 11] = [
    Role::Echo,
    Role::ReplyAtEnd,
    Role::EndFirst,
    Role::Source,
    Role::Stall,
    Role::Reset,
    Role::Witness,
    Role::Refuse,
    Role::Silent,
    Role::UdpEcho,
    Role::UdpRefuse,
];

fn script(role: Role) -> Script {
    match role {
        Role::ReplyAtEnd => Script::reply_at_end(conformance::reply()),
        Role::EndFirst => Script::end_first(conformance::reply()),
        Role::Source => Script::source(u64::MAX),
        Role::Stall => Script::stall(),
        Role::Reset => Script::discard().with_break_after(1),
        Role::Witness => Script::discard(),
        Role::Refuse => Script::fail(|| OpenError::Refused(None)),
        Role::Silent => Script::silent(),
        Role::UdpRefuse => {
            Script::discard().with_break_after(1).with_breakage(|| TunnelError::Unreachable)
        }
        _ => Script::echo(),
    }
}

fn target(role: Role) -> Target {
    Target::host(&format!("{role:?}.example"), 7)
}

#[async_trait]
impl Fixture for InMemory {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::clone(&self.transport)
    }

    fn target(&self, role: Role) -> Option<Target> {
        ROLES.contains(&role).then(|| target(role))
    }

    fn source_sent(&self) -> u64 {
        self.source_sent.fetch_add(self.source_speed, Ordering::Relaxed)
    }

    async fn witnessed_end(&self) -> FlowEnd {
        loop {
            let ends = self.mock.take_ends();
            if let Some(end) = ends.iter().find(|end| end.target == target(Role::Witness)) {
                return FlowEnd { received: end.received, clean: end.ending == Ending::Finished };
            }
            tokio::task::yield_now().await;
        }
    }

    fn buffer_limit(&self) -> u64 {
        1 << 20
    }
}

fn mock() -> Mock {
    ROLES
        .into_iter()
        .fold(Mock::new(Script::echo()), |mock, role| mock.with(target(role), script(role)))
}

#[tokio::test(start_paused = true)]
async fn passes() {
    let mock = mock();
    let fixture = InMemory::new(mock.clone(), mock);
    conformance::run(&fixture).await.assert_complete();
}

/// Far sides and transports that break the rules, so that the suite is known to notice.
#[tokio::test(start_paused = true)]
async fn every_rule_can_be_broken() {
    let wrong_roles = [
        (Role::Echo, Script::discard()),
        (Role::ReplyAtEnd, Script::echo()),
        (Role::EndFirst, Script::echo()),
        (Role::Source, Script::echo()),
        (Role::Stall, Script::discard()),
        (Role::Reset, Script::discard()),
        (Role::Witness, Script::discard().with_break_after(200_000)),
        (Role::Refuse, Script::echo()),
        (Role::Silent, Script::echo()),
        (Role::UdpEcho, Script::discard()),
        (Role::UdpRefuse, Script::echo()),
    ];
    let mut broken = BTreeSet::new();
    for (role, script) in wrong_roles {
        let mock = mock().with(target(role), script);
        let fixture = InMemory::new(mock.clone(), mock);
        let failed: Vec<_> = conformance::run(&fixture).await.failed().collect();
        assert!(!failed.is_empty(), "{role:?}");
        broken.extend(failed);
    }
    let mock = mock();
    let mut fixture = InMemory::new(Polite(mock.clone()), mock);
    fixture.source_speed = 100_000;
    let report = conformance::run(&fixture).await;
    broken.extend(report.failed());
    let rules = report.to_string().lines().count();
    assert_eq!(broken.len(), rules, "only these can be broken: {broken:#?}");
}

/// A transport that ends its flows cleanly where it should abort them.
struct Polite(Mock);

struct PoliteBytes(ByteTunnel);

#[async_trait]
impl Transport for Polite {
    async fn open_tcp(&self, request: OpenRequest) -> Result<ByteTunnel, OpenError> {
        Ok(Box::new(PoliteBytes(self.0.open_tcp(request).await?)))
    }

    async fn open_udp(&self, request: OpenRequest) -> Result<DatagramTunnel, OpenError> {
        self.0.open_udp(request).await
    }
}

impl Sink<Bytes> for PoliteBytes {
    type Error = TunnelError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.0.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, item: Bytes) -> Result<(), TunnelError> {
        self.0.start_send_unpin(item)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.0.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.0.poll_close_unpin(cx)
    }
}

impl Stream for PoliteBytes {
    type Item = Result<Bytes, TunnelError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl ByteStream for PoliteBytes {
    fn abort(&mut self, _: AbortCode) {
        let mut cx = Context::from_waker(noop_waker_ref());
        let _ = self.0.poll_close_unpin(&mut cx);
        let _ = self.0.poll_next_unpin(&mut cx);
    }
}

impl Drop for PoliteBytes {
    fn drop(&mut self) {
        self.abort(AbortCode::Cancel);
    }
}
